//! Lines to whatever is no file: a pipe, a terminal. Its reader may be slow, or gone.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How long the reader may leave a full pipe alone, in milliseconds.
const PATIENCE_MS: u16 = 5_000;

/// What a pipe that can be written to takes without blocking (`PIPE_BUF` of Linux).
const CHUNK: usize = 4_096;

/// Writes lines; what is broken off is not continued, but ended before the next line.
#[derive(Debug, Default)]
pub(super) struct Stream {
    torn: bool,
}

impl Stream {
    /// Writes lines until all are written or an error comes, and says how many bytes of them are written.
    pub(super) fn write(&mut self, to: &File, lines: &[u8]) -> (usize, io::Result<()>) {
        if self.torn {
            if let (_, Err(error)) = write(to, b"\n") {
                return (0, Err(error));
            }
            self.torn = false;
        }
        let (written, result) = write(to, lines);
        self.torn = written > 0 && lines[written - 1] != b'\n';
        (written, result)
    }
}

fn write(mut to: &File, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        let end = bytes.len().min(written + CHUNK);
        let result = ready(to).and_then(|()| to.write(&bytes[written..end]));
        match result {
            Ok(0) => return (written, Err(ErrorKind::WriteZero.into())),
            Ok(bytes) => written += bytes,
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

fn ready(to: &File) -> io::Result<()> {
    let mut asked = [PollFd::new(to.as_fd(), PollFlags::POLLOUT)];
    match poll(&mut asked, PollTimeout::from(PATIENCE_MS)) {
        Ok(0) => Err(io::Error::new(ErrorKind::TimedOut, "its reader does not read")),
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// A pipe whose writing end never blocks.
    fn pipe() -> (File, File) {
        let (from, to) = nix::unistd::pipe2(nix::fcntl::OFlag::O_NONBLOCK).unwrap();
        (from.into(), to.into())
    }

    #[test]
    fn a_line_that_was_broken_off_does_not_spoil_the_next() {
        let (mut from, to) = pipe();
        let mut stream = Stream { torn: true };
        assert_eq!(stream.write(&to, b"{}\n").0, 3);
        drop(to);
        let mut said = String::new();
        from.read_to_string(&mut said).unwrap();
        assert_eq!(said, "\n{}\n");
    }

    #[test]
    fn a_reader_that_is_gone_is_an_error() {
        let (from, to) = pipe();
        drop(from);
        let (written, result) = Stream::default().write(&to, b"{}\n");
        assert_eq!((written, result.unwrap_err().kind()), (0, ErrorKind::BrokenPipe));
    }

    #[test]
    fn more_than_fits_is_written_while_somebody_reads() {
        let (mut from, to) = pipe();
        let lines = b"0123456789abcde\n".repeat(20_000);
        let length = lines.len();
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            let mut part = [0; 1000];
            while all.len() < length {
                match from.read(&mut part) {
                    Ok(bytes) => all.extend_from_slice(&part[..bytes]),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
            }
            all
        });
        let (written, result) = Stream::default().write(&to, &lines);
        result.unwrap();
        assert_eq!(written, lines.len());
        assert!(reader.join().unwrap() == lines);
    }
}
