//! What the documentation types can be typed.

use std::path::{Path, PathBuf};

use clap::Parser;

use super::args::Cli;

/// The command lines of a page, as words; a line that goes on with a backslash is one.
fn typed(page: &str) -> Vec<Vec<String>> {
    let page = page.replace("\\\n", " ");
    let lines = page.lines().filter_map(|line| line.strip_prefix("$ "));
    let words = lines.map(|line| {
        let end = line.find([';', '|', '>', '&']).unwrap_or(line.len());
        let mut words = vec![String::new()];
        let mut quote = None;
        for c in line[..end].chars() {
            match (c, quote) {
                ('\'' | '"', None) => quote = Some(c),
                (c, Some(open)) if c == open => quote = None,
                (' ', None) => words.push(String::new()),
                (c, _) => words.last_mut().expect("there is one").push(c),
            }
        }
        words.retain(|word| !word.is_empty() && word != "sudo");
        words
    });
    let is_ours = |words: &Vec<String>| words.first().is_some_and(|word| word == "palisade");
    words.filter(is_ours).collect()
}

#[test]
fn every_command_in_the_documentation_can_be_typed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let docs = std::fs::read_dir(root.join("docs")).unwrap();
    let mut pages: Vec<PathBuf> = docs.map(|entry| entry.unwrap().path()).collect();
    pages.retain(|page| page.extension().is_some_and(|extension| extension == "md"));
    pages.push(root.join("README.md"));
    let mut found = 0;
    for page in pages {
        for words in typed(&std::fs::read_to_string(&page).unwrap()) {
            found += 1;
            if let Err(error) = Cli::try_parse_from(&words) {
                panic!("{}: {words:?}: {error}", page.display());
            }
        }
    }
    assert!(found > 20, "{found} commands only");
}
