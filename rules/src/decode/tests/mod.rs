//! Tables of what is accepted and what is refused, and how refusals look.

mod documents;
mod endpoints;
mod fields;
mod hostile;
mod kinds;
mod kubernetes;
mod named;
mod names;
mod objects;
mod policies;
mod rendered;
mod rules;
mod stages;
mod subjects;
mod workloads;

use super::*;

/// Decodes one text as `t`.
fn decode_text(text: &str) -> (Option<Snapshot>, Diagnostics, Files) {
    let mut files = Files::default();
    let file = files.add("t", text);
    let (snapshot, diagnostics) = decode(&files, &[file]);
    (snapshot, diagnostics, files)
}

/// The snapshot of a text without any problem.
fn good(text: &str) -> Snapshot {
    let (snapshot, diagnostics, files) = decode_text(text);
    assert!(
        diagnostics.is_empty(),
        "{text}\n{}",
        diagnostics.render(&files, false)
    );
    snapshot.unwrap()
}

/// The problems of a text, as `line:column code path`.
fn problems(text: &str) -> Vec<String> {
    let (snapshot, diagnostics, files) = decode_text(text);
    assert_eq!(snapshot.is_none(), diagnostics.has_errors());
    let problems = diagnostics.iter().map(|problem| {
        let position = files.position(problem.span.expect("every problem has a place"));
        let path = problem.path.as_deref().unwrap_or("-");
        format!("{}:{} {} {path}", position.line, position.column, problem.code)
    });
    problems.collect()
}

/// Checks that a text has one problem, with this code and path, that says these words.
fn refused(text: &str, code: &str, path: &str, words: &str) {
    let (_, diagnostics, files) = decode_text(text);
    let rendered = diagnostics.render(&files, false);
    assert_eq!(diagnostics.len(), 1, "{text}\n{rendered}");
    let problem = diagnostics.iter().next().unwrap();
    assert_eq!(problem.code, code, "{text}\n{rendered}");
    assert_eq!(problem.path.as_deref(), Some(path), "{text}\n{rendered}");
    assert!(rendered.contains(words), "{text}\n{rendered}");
    let record = problem.record(&files);
    assert_eq!(record.file.as_deref(), Some("t"));
    assert!(
        record.line.is_some() && record.column.is_some() && record.help.is_some(),
        "{record:?}"
    );
    assert!(record.kind.is_some() || !text.contains("kind:"), "{record:?}");
}
