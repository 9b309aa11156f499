//! Named counters: reading many of them, and whoever keeps their totals while the kernel's come and go.

use std::ops::RangeInclusive;

use nix::errno::Errno;
use palisade_rules::ruleset::TABLE;

use crate::abi::{msg, obj};
use crate::dump::{self, CounterValue, counter_value};
use crate::message::MessageBuilder;
use crate::socket::{RequestError, Socket, nft_message, request_flags};

/// How many counters are dumped when they are read. Above this, asking for each by its name is faster: for every 32 KiB of
/// a dump the kernel starts at the head of its list again. Below, those that are asked for are few, and there may be many
/// others.
const DUMPED: RangeInclusive<usize> = 1_000..=30_000;

/// Keeps what counters have counted ever, for the kernel forgets it with the table, and with each counter that goes.
///
/// `()` keeps nothing: counters begin at zero.
pub trait Ledger {
    /// The total of a counter in which the kernel has `held`, or which it has not. A counter that is made begins at
    /// this; one that holds something else is made anew.
    fn total(&self, name: &str, held: Option<CounterValue>) -> CounterValue;

    /// The kernel has made a counter, which began at `value`.
    fn made(&mut self, name: &str, value: CounterValue);

    /// The last values of counters that nothing counts in any more, and that are about to go.
    fn retire(&mut self, last: &[(String, CounterValue)]);

    /// Whether counters that retire are to stay until [`Nft::delete_retired`](crate::Nft::delete_retired) is called,
    /// because their last values are not safe yet.
    fn writes_first(&self) -> bool {
        false
    }
}

impl Ledger for () {
    fn total(&self, _: &str, held: Option<CounterValue>) -> CounterValue {
        held.unwrap_or_default()
    }

    fn made(&mut self, _: &str, _: CounterValue) {}

    fn retire(&mut self, _: &[(String, CounterValue)]) {}
}

/// What counters held at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The kernel's number of our table, which no other table has had before it; `None` if there is no table.
    pub table: Option<u64>,
    /// The values, in the order of the names that were asked for; `None` for one that is not there.
    pub values: Vec<Option<CounterValue>>,
}

/// The values of these counters, whose names must be in order.
///
/// # Errors
/// [`RequestError::Interrupted`] if the table was replaced by another meanwhile.
pub(crate) fn read(socket: &mut Socket, names: &[&str]) -> Result<Reading, RequestError> {
    let table = dump::head(socket, TABLE)?.map(|head| head.handle);
    let mut values = vec![None; names.len()];
    if table.is_some() {
        let dumped = DUMPED.contains(&names.len()) && read_dumped(socket, names, &mut values)?;
        if !dumped {
            read_by_name(socket, names, &mut values)?;
        }
    }
    let after = dump::head(socket, TABLE)?.map(|head| head.handle);
    match (table, after) {
        (before, after) if before == after => Ok(Reading { table, values }),
        // What was there a moment ago is gone, and so are its counters.
        (_, None) => Ok(Reading {
            table: None,
            values: vec![None; names.len()],
        }),
        _ => Err(RequestError::Interrupted),
    }
}

/// Reads all there are and picks; `false` if another writer got in between.
fn read_dumped(
    socket: &mut Socket,
    names: &[&str],
    values: &mut [Option<CounterValue>],
) -> Result<bool, RequestError> {
    let dumped = dump::counters(socket, |name, value| {
        if let Ok(place) = names.binary_search(&name) {
            values[place] = Some(value);
        }
    });
    match dumped {
        Ok(()) => Ok(true),
        Err(RequestError::Interrupted) => {
            values.fill(None);
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn read_by_name(
    socket: &mut Socket,
    names: &[&str],
    values: &mut [Option<CounterValue>],
) -> Result<(), RequestError> {
    let kind = obj::COUNTER.to_be_bytes();
    let mut refused = None;
    socket.requests(
        names.len(),
        |place, buffer, seq| {
            MessageBuilder::new(buffer, nft_message(msg::GET_OBJ), request_flags(0), seq)
                .put_text(obj::TABLE, TABLE)
                .put_text(obj::NAME, names[place])
                .put(obj::TYPE, &kind)
                .finish();
        },
        |place, answer| match answer {
            Ok(message) => values[place] = Some(counter_value(&message.attributes())),
            Err(failure) if failure.errno == Errno::ENOENT => {}
            Err(failure) => refused = Some(failure),
        },
    )?;
    refused.map_or(Ok(()), |failure| Err(RequestError::Refused(failure)))
}
