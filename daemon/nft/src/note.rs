//! A note in the kernel that our table is to stay away: an empty table, whose comment says why.
//!
//! It needs no disk and no daemon, every palisaded of the network namespace sees it whatever its configuration, and
//! whoever lists the ruleset reads it. A reboot forgets it, and so does `nft flush ruleset`.

use nix::errno::Errno;
use nix::libc;

use crate::abi::{msg, table, udata};
use crate::dump;
use crate::encode::batch_of;
use crate::error::{ApplyError, OpenError, ReadError, read_error};
use crate::message::MessageBuilder;
use crate::nft::Nft;
use crate::socket::{nft_message, request_flags};
use crate::userdata::encode_comment;

/// The table that is the note.
pub const NOTE_TABLE: &str = "palisade_panic";

impl Nft {
    /// The text of the note; `None` if there is none.
    pub fn note(&mut self) -> Result<Option<String>, ReadError> {
        let head = dump::head(&mut self.socket, NOTE_TABLE).map_err(read_error)?;
        Ok(head.map(|head| head.comment))
    }

    /// Leaves a note of at most 125 bytes, if there is none.
    pub fn leave_note(&mut self, text: &str) -> Result<(), ApplyError> {
        let mut message = Vec::new();
        let create = request_flags(libc::NLM_F_CREATE);
        MessageBuilder::new(&mut message, nft_message(msg::NEW_TABLE), create, 1)
            .put_text(table::NAME, NOTE_TABLE)
            .put(table::USERDATA, &encode_comment(udata::COMMENT, text))
            .finish();
        self.send("leaving a note", &batch_of(&[&message]))
    }

    /// Takes the note away, if there is one.
    pub fn take_note(&mut self) -> Result<(), ApplyError> {
        let mut message = Vec::new();
        MessageBuilder::new(&mut message, nft_message(msg::DEL_TABLE), request_flags(0), 1)
            .put_text(table::NAME, NOTE_TABLE)
            .finish();
        match self.send("taking the note away", &batch_of(&[&message])) {
            Err(ApplyError::Refused(refusals)) if refusals.iter().all(|r| r.errno == Errno::ENOENT) => Ok(()),
            answer => answer,
        }
    }
}

/// The text of the note in the network namespace of the calling thread; `None` if there is none, or nobody can tell.
pub fn note() -> Option<String> {
    let read = || -> Result<Option<String>, NoteError> { Ok(Nft::open()?.note()?) };
    read()
        .inspect_err(|error| tracing::debug!(%error, "whether there is a note is not known"))
        .ok()
        .flatten()
}

#[derive(Debug, thiserror::Error)]
enum NoteError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Read(#[from] ReadError),
}
