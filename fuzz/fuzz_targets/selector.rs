//! Any text is a selector or a mistake with a place; and a selector's canonical text is the same selector.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palisade_rules::resource::Labels;
use palisade_rules::selector::Selector;

fuzz_target!(|text: &str| {
    match Selector::parse(text) {
        Ok(selector) => {
            let canonical = selector.to_string();
            let again = Selector::parse(&canonical).expect("canonical text is a selector");
            assert_eq!(again, selector);
            let labels = Labels::from([("a".into(), "x".into()), ("role".into(), "db".into())]);
            assert_eq!(again.matches(&labels), selector.matches(&labels));
            assert_eq!(selector.and_not(&selector).matches(&labels), false);
        }
        Err(error) => {
            assert!(text.get(error.span.clone()).is_some(), "{:?} is no place in {text:?}", error.span);
        }
    }
});
