//! Queries and answers as lines of JSON.

use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::questions::Question;
use super::{Answer, Questions};
use crate::net::Protocol;
use crate::world::Worlds;

impl Questions<'_> {
    /// Answers the query of one line and appends the answer with a line break to `out`; nothing for a blank line. A
    /// query without a single answer gets its line all the same, with an `error`: then this is false.
    pub fn answer_line(&mut self, line: &[u8], out: &mut Vec<u8>) -> bool {
        let line = line.trim_ascii();
        if line.is_empty() {
            return true;
        }
        if let Ok(query) = serde_json::from_slice::<PlainLine<'_>>(line)
            && let Ok(answer) = self.answer(query.question())
        {
            answer.write(out);
            out.push(b'\n');
            return true;
        }
        let value = self.carefully(line);
        out.extend_from_slice(value.to_string().as_bytes());
        out.push(b'\n');
        value.get("error").is_none()
    }

    /// The answer to a line that is not plain, or that has none.
    fn carefully(&mut self, line: &[u8]) -> Value {
        let value: Value = match serde_json::from_slice(line) {
            Ok(value) => value,
            Err(error) => {
                return json!({"from": null, "to": null, "error": format!("not a JSON object: {error}")});
            }
        };
        let answer = QueryLine::deserialize(&value)
            .map_err(|error| error.to_string())
            .and_then(|line| {
                let question = line.question()?;
                let answer = self.answer(question).map_err(|error| error.to_string())?;
                serde_json::to_value(Answer::from(answer)).map_err(|error| error.to_string())
            });
        answer
            .unwrap_or_else(|error| json!({"from": value.get("from"), "to": value.get("to"), "error": error}))
    }
}

/// Queries that come in pieces, such as from a pipe or a socket.
pub struct QueryLines<'w> {
    questions: Questions<'w>,
    /// The beginning of a line.
    begun: Vec<u8>,
}

impl<'w> QueryLines<'w> {
    /// Nothing asked yet.
    pub fn new(worlds: &'w Worlds) -> Self {
        QueryLines {
            questions: Questions::new(worlds),
            begun: Vec::new(),
        }
    }

    /// Answers the lines that end in this piece; false if one of them has no answer.
    pub fn piece(&mut self, piece: &[u8], out: &mut Vec<u8>) -> bool {
        let mut all_answered = true;
        for line in piece.split_inclusive(|&byte| byte == b'\n') {
            if !line.ends_with(b"\n") {
                self.begun.extend_from_slice(line);
            } else if self.begun.is_empty() {
                all_answered &= self.questions.answer_line(line, out);
            } else {
                self.begun.extend_from_slice(line);
                all_answered &= self.end(out);
            }
        }
        all_answered
    }

    /// Answers a line that has no end yet; false if it has no answer.
    pub fn end(&mut self, out: &mut Vec<u8>) -> bool {
        let line = std::mem::take(&mut self.begun);
        self.questions.answer_line(&line, out)
    }
}

/// A query as it is usually written: each field once, and nothing escaped.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainLine<'a> {
    from: &'a str,
    to: &'a str,
    #[serde(default)]
    protocol: ProtocolWord,
    port: Option<u16>,
    source_port: Option<u16>,
    icmp_type: Option<u8>,
    icmp_code: Option<u8>,
}

impl PlainLine<'_> {
    fn question(&self) -> Question<'_> {
        let protocol = self.protocol.0;
        Question {
            from: self.from,
            to: self.to,
            protocol,
            port: port(self.port, protocol),
            source_port: self.source_port,
            icmp_type: self.icmp_type,
            icmp_code: self.icmp_code,
        }
    }
}

/// A protocol by name or number, tcp if not given.
struct ProtocolWord(Protocol);

impl Default for ProtocolWord {
    fn default() -> Self {
        ProtocolWord(Protocol::TCP)
    }
}

impl<'de> Deserialize<'de> for ProtocolWord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Word;
        impl Visitor<'_> for Word {
            type Value = ProtocolWord;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a protocol by name or number")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<ProtocolWord, E> {
                parse_protocol(name).map(ProtocolWord).map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<ProtocolWord, E> {
                self.visit_str(&number.to_string())
            }
        }
        deserializer.deserialize_any(Word)
    }
}

/// A query in whatever JSON says it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QueryLine {
    from: String,
    to: String,
    protocol: Option<Value>,
    port: Option<u16>,
    source_port: Option<u16>,
    icmp_type: Option<u8>,
    icmp_code: Option<u8>,
}

impl QueryLine {
    fn question(&self) -> Result<Question<'_>, String> {
        let protocol = match &self.protocol {
            None => Protocol::TCP,
            Some(Value::String(name)) => parse_protocol(name)?,
            Some(other) => parse_protocol(&other.to_string())?,
        };
        Ok(Question {
            from: &self.from,
            to: &self.to,
            protocol,
            port: port(self.port, protocol),
            source_port: self.source_port,
            icmp_type: self.icmp_type,
            icmp_code: self.icmp_code,
        })
    }
}

/// Flow records say 0 for protocols without ports.
fn port(port: Option<u16>, protocol: Protocol) -> Option<u16> {
    port.filter(|port| protocol.has_ports() || *port != 0)
}

/// The protocol of a name or number that a person wrote, or what is wrong with it.
pub fn parse_protocol(name: &str) -> Result<Protocol, String> {
    Protocol::parse(name).ok_or_else(|| {
        format!(
            "{name:?} is no protocol: use tcp, udp, icmp, icmpv6, sctp, udplite, or a number from 1 to 255"
        )
    })
}
