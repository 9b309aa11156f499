//! The core schema of YAML 1.2: what a value without quotes is.

/// What a scalar is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Core<'a> {
    /// `null`, `Null`, `NULL`, `~` or nothing.
    Null,
    /// `true`, `false`, and these with a capital or all in capitals. `yes` and `on` are text.
    Bool(bool),
    /// A decimal, octal (`0o17`) or hexadecimal (`0x1f`) integer.
    Integer(i64),
    /// Any other number, an integer beyond 64 bits included.
    Float(f64),
    /// Everything else; `8000:8059` is text.
    Text(&'a str),
}

impl<'a> Core<'a> {
    /// What a scalar without quotes is (YAML 1.2.2, section 10.3.2).
    pub fn of_plain(text: &'a str) -> Self {
        match text {
            _ if is_null(text) => Core::Null,
            "true" | "True" | "TRUE" => Core::Bool(true),
            "false" | "False" | "FALSE" => Core::Bool(false),
            _ => number(text).unwrap_or(Core::Text(text)),
        }
    }
}

/// Whether a value without quotes is nothing.
pub(super) fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

fn number(text: &str) -> Option<Core<'_>> {
    // Nearly all values are words, and what begins a word begins no number.
    let first = *text.as_bytes().first()?;
    if !first.is_ascii_digit() && !matches!(first, b'-' | b'+' | b'.') {
        return None;
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8);
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16);
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let negative = text.starts_with('-');
    match unsigned {
        ".inf" | ".Inf" | ".INF" if negative => return Some(Core::Float(f64::NEG_INFINITY)),
        ".inf" | ".Inf" | ".INF" => return Some(Core::Float(f64::INFINITY)),
        _ => {}
    }
    if matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Some(Core::Float(f64::NAN));
    }
    if !unsigned.is_empty() && unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(match text.parse() {
            Ok(integer) => Core::Integer(integer),
            Err(_) => Core::Float(text.parse().ok()?),
        });
    }
    is_float(unsigned).then(|| text.parse().ok().map(Core::Float))?
}

fn radix(digits: &str, radix: u32) -> Option<Core<'_>> {
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    Some(match i64::from_str_radix(digits, radix) {
        Ok(integer) => Core::Integer(integer),
        // Too large for any field; that it is a number is all that matters.
        Err(_) => Core::Float(f64::MAX),
    })
}

/// `( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`
fn is_float(unsigned: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    // Most that begin with a digit are addresses, which hold something else soon.
    let in_number = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-');
    if !unsigned.bytes().all(in_number) {
        return false;
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let exponent_fits = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    exponent_fits && digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_by_the_core_schema() {
        for (text, core) in [
            ("", Core::Null),
            ("~", Core::Null),
            ("Null", Core::Null),
            ("nULL", Core::Text("nULL")),
            ("true", Core::Bool(true)),
            ("FALSE", Core::Bool(false)),
            ("yes", Core::Text("yes")),
            ("on", Core::Text("on")),
            ("0", Core::Integer(0)),
            ("-12", Core::Integer(-12)),
            ("+7", Core::Integer(7)),
            ("010", Core::Integer(10)),
            ("0o17", Core::Integer(15)),
            ("0o8", Core::Text("0o8")),
            ("0x1F", Core::Integer(31)),
            ("-0x1F", Core::Text("-0x1F")),
            ("0xffffffffffffffffff", Core::Float(f64::MAX)),
            ("99999999999999999999", Core::Float(1e20)),
            ("1.5", Core::Float(1.5)),
            ("1.", Core::Float(1.0)),
            (".5", Core::Float(0.5)),
            ("1e3", Core::Float(1000.0)),
            ("-1.5E-1", Core::Float(-0.15)),
            ("-.inf", Core::Float(f64::NEG_INFINITY)),
            (".", Core::Text(".")),
            ("1e", Core::Text("1e")),
            ("e1", Core::Text("e1")),
            ("-", Core::Text("-")),
            ("+", Core::Text("+")),
            ("inf", Core::Text("inf")),
            ("1_000", Core::Text("1_000")),
            ("1.2.3", Core::Text("1.2.3")),
            ("8000:8059", Core::Text("8000:8059")),
            ("10.0.0.0/8", Core::Text("10.0.0.0/8")),
            ("2020-01-01", Core::Text("2020-01-01")),
        ] {
            assert_eq!(Core::of_plain(text), core, "{text:?}");
        }
        assert!(matches!(Core::of_plain(".NaN"), Core::Float(nan) if nan.is_nan()));
    }
}
