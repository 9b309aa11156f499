//! Orders as words that sort as the numbers do.
//!
//! A policy's chain is named by its order, so that a policy more or less renames no other. The bytes of the names of one
//! tier's chains sort as the policies are asked:
//!
//! | order | word | what sorts |
//! |---|---|---|
//! | 100 | `000100` | six digits before the point |
//! | 100.5 | `000100.5` | the fraction as it is written |
//! | 1000000 and more | `e006.1` | the power of ten, then the digits |
//! | -5.5 | `-999994.4_` | the digits that make nines of them, and `_`, which sorts behind all |
//! | -1000000 and less | `--993.8_` | both |
//! | almost 0 | `000000..989.1` | 1000 less the power of ten, below every digit that a fraction begins with |
//! | none | `none` | behind every number |
//!
//! The safety net, which comes last whatever its order, is `safety-net-100000`.

use crate::resource::Order;

/// From here on a number is written with its power of ten.
const HUGE: f64 = 1e6;

/// Below this a fraction would have more zeros than anybody counts.
const TINY: f64 = 1e-9;

/// The order of a policy in the name of its chain.
pub(super) fn word(order: Option<Order>, safety_net: bool) -> String {
    let word = order.map_or_else(|| "none".to_owned(), |order| number(order.value()));
    if safety_net {
        format!("safety-net-{word}")
    } else {
        word
    }
}

fn number(value: f64) -> String {
    if value == 0.0 {
        return "000000".to_owned();
    }
    let size = value.abs();
    let is_negative = value < 0.0;
    if size.is_infinite() {
        if is_negative { "---" } else { "f" }.to_owned()
    } else if size >= HUGE {
        let (digits, power) = scientific(size);
        if is_negative {
            format!("--{:03}.{}_", 999 - power, nines(&digits))
        } else {
            format!("e{power:03}.{digits}")
        }
    } else if size < TINY {
        let (digits, power) = scientific(size);
        if is_negative {
            format!("-999999_{:03}.{}_", -power, nines(&digits))
        } else {
            format!("000000..{:03}.{digits}", 999 + power)
        }
    } else {
        let text = size.to_string();
        let (whole, fraction) = text
            .split_once('.')
            .map_or((text.as_str(), ""), |(whole, fraction)| (whole, fraction));
        let point = if fraction.is_empty() { "" } else { "." };
        let padded = format!("{whole:0>6}{point}{fraction}");
        if is_negative {
            format!("-{}_", nines(&padded))
        } else {
            padded
        }
    }
}

/// The fewest digits that tell a number from its neighbours, one of them before the point, and the power of ten.
fn scientific(size: f64) -> (String, i32) {
    let text = format!("{size:e}");
    let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
    // Rust writes the power as a plain number.
    (digits.to_owned(), power.parse().unwrap_or_default())
}

/// Each digit as what it lacks to nine: the larger number sorts first.
fn nines(digits: &str) -> String {
    let nine = |c: char| {
        c.to_digit(10)
            .and_then(|digit| char::from_digit(9 - digit, 10))
            .unwrap_or(c)
    };
    digits.chars().map(nine).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_order() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<f64>(),
            (-2_000_i32..2_000, 0_i32..4)
                .prop_map(|(number, places)| f64::from(number) / 10_f64.powi(places)),
            (-1e7..1e7_f64),
            (-1e-7..1e-7_f64),
            proptest::sample::select(vec![
                0.0,
                999_999.0,
                999_999.9,
                1e6,
                -1e6,
                1e-9,
                -1e-9,
                9.9e-10,
                f64::INFINITY,
                f64::NEG_INFINITY,
                f64::MAX,
                f64::MIN_POSITIVE,
                5e-324
            ]),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        /// With anything behind it that is less than a digit, as a name has.
        #[test]
        fn words_sort_as_numbers_do(one in any_order(), other in any_order()) {
            let [one, other] = [one, other].map(Order::new);
            let [word_of_one, word_of_other] = [one, other].map(|order| format!("{}-x", word(Some(order), false)));
            prop_assert_eq!(word_of_one.cmp(&word_of_other), one.cmp(&other), "{} {}", word_of_one, word_of_other);
            prop_assert!(word_of_one < word(None, false));
            prop_assert!(word(None, false) < word(Some(one), true));
        }
    }

    #[test]
    fn usual_orders_read_as_they_are_written() {
        let words = [100.0, 100.5, 7.0, 1e6, -5.5].map(|order| word(Some(Order::new(order)), false));
        assert_eq!(words, ["000100", "000100.5", "000007", "e006.1", "-999994.4_"]);
        assert_eq!(word(None, false), "none");
        assert_eq!(word(Some(Order::new(100_000.0)), true), "safety-net-100000");
    }
}
