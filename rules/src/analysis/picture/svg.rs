//! The matrix as an image.

use std::fmt::Write as _;

use super::drawing::{Amount, Drawing, Promotion, Seen};
use crate::analysis::matrix::{Matrix, TooLarge};
use crate::world::WorldKind;

/// The side of a cell, in pixels.
const CELL: usize = 18;
/// Between two grids, and around all.
const GAP: usize = 24;
/// What a letter of a label takes at the most.
const LETTER: usize = 7;
/// What a letter of a title takes at the most.
const TITLE_LETTER: usize = 9;
/// The longest label, in letters.
const LETTERS: usize = 32;
/// For titles and the legend.
const LINE: usize = 22;
/// The most rows with which every cell has its words; more, and the image would be of many megabytes.
const ROWS_WITH_WORDS: usize = 60;

const LEGEND: &str = "Rows reach columns. Strong: everything; pale: some; framed: what promotion takes away (\u{2212}) \
                      or adds (+).";

const STYLE: &str = "\
svg{color-scheme:light dark;background:#fff;font:12px ui-sans-serif,system-ui,sans-serif}\
text{fill:#1f2328}.title{font-weight:600;font-size:14px}.quiet{fill:#59636e}\
.grid{fill:none;stroke:#d1d9e0}.some{fill:#80b3e6}.all{fill:#1f5fa8}\
.less{stroke:#cf222e;stroke-width:2.5;fill:none}.more{stroke:#1a7f37;stroke-width:2.5;fill:none}\
.sign{font-weight:700;text-anchor:middle;paint-order:stroke;stroke:#fff;stroke-width:2.5px}\
@media(prefers-color-scheme:dark){svg{background:#0d1117}text{fill:#e6edf3}.quiet{fill:#9198a1}\
.grid{stroke:#30363d}.some{fill:#2f6aa8}.all{fill:#79c0ff}.less{stroke:#ff7b72}.more{stroke:#56d364}\
.sign{stroke:#0d1117}}";

/// The matrix as an image in SVG: a grid for each view, a row for where connections come from and a column for where they
/// go. It reads in the dark as in the light, and up to 60 rows every cell says in words what it allows where a pointer
/// rests on it.
///
/// # Errors
///
/// [`TooLarge`].
pub fn svg(matrix: &mut Matrix<'_>) -> Result<String, TooLarge> {
    let drawing = Drawing::of(matrix)?;
    let views = views(&drawing);
    let longest = drawing.rows.iter().map(|row| row.label.chars().count()).max();
    let labels = LETTER * longest.unwrap_or(0).min(LETTERS);
    let grid = CELL * drawing.rows.len();
    let longest = views.iter().map(|(title, _)| title.len() * TITLE_LETTER).max();
    let step = GAP + (labels + grid).max(longest.unwrap_or(0));
    let width = GAP + (step * views.len()).max(LEGEND.chars().count() * LETTER);
    let height = GAP + LINE + labels + grid + GAP + LINE;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\" aria-label=\"Who reaches whom\">\n<style>{STYLE}</style>\n"
    );
    for (index, (title, view)) in views.into_iter().enumerate() {
        let place = Place {
            left: GAP + index * step + labels,
            top: GAP + LINE + labels,
        };
        let _ = writeln!(
            text,
            "<text class=\"title\" x=\"{}\" y=\"{}\">{}</text>",
            place.left - labels,
            GAP,
            escaped(title)
        );
        write_labels(&mut text, &drawing, &place);
        write_grid(&mut text, &drawing, &place, view);
    }
    let _ = writeln!(
        text,
        "<text class=\"quiet\" x=\"{GAP}\" y=\"{}\">{LEGEND}</text>\n</svg>",
        height - GAP / 2
    );
    Ok(text)
}

/// Where a grid begins.
struct Place {
    left: usize,
    top: usize,
}

/// Which view a grid shows.
#[derive(Clone, Copy)]
struct View {
    world: WorldKind,
    without_safety_net: bool,
}

impl View {
    fn seen(self, drawing: &Drawing, from: usize, to: usize) -> &Seen {
        drawing.shade(from, to).seen(self.world, self.without_safety_net)
    }

    /// What promotion changes in a cell, where that is shown.
    fn promotion(self, drawing: &Drawing, from: usize, to: usize) -> Option<&Promotion> {
        let promotion = &drawing.shade(from, to).promotion[usize::from(self.without_safety_net)];
        (self.world == WorldKind::Pending).then_some(promotion)
    }
}

fn views(drawing: &Drawing) -> Vec<(&'static str, View)> {
    let view = |world, without_safety_net| View {
        world,
        without_safety_net,
    };
    let mut views = vec![
        ("Enforced", view(WorldKind::Enforced, false)),
        ("Pending", view(WorldKind::Pending, false)),
    ];
    if drawing.has_net {
        views.push(("Pending, without the safety net", view(WorldKind::Pending, true)));
    }
    views
}

fn write_labels(text: &mut String, drawing: &Drawing, place: &Place) {
    for (index, row) in drawing.rows.iter().enumerate() {
        let middle = index * CELL + CELL / 2 + 4;
        let label = escaped(&shortened(&row.label));
        let names = escaped(&row.names.join("\n"));
        let _ = writeln!(
            text,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{label}<title>{names}</title></text>",
            place.left - 6,
            place.top + middle
        );
        let _ = writeln!(
            text,
            "<text transform=\"translate({} {}) rotate(-90)\">{label}<title>{names}</title></text>",
            place.left + middle,
            place.top - 6
        );
    }
}

fn write_grid(text: &mut String, drawing: &Drawing, place: &Place, view: View) {
    let side = CELL * drawing.rows.len();
    let _ = writeln!(
        text,
        "<rect class=\"grid\" x=\"{}\" y=\"{}\" width=\"{side}\" height=\"{side}\"/>",
        place.left, place.top
    );
    for from in 0..drawing.rows.len() {
        let y = place.top + from * CELL;
        if drawing.rows.len() > ROWS_WITH_WORDS {
            write_row(text, drawing, from, [place.left, y], view);
            continue;
        }
        for (to, column) in drawing.rows.iter().enumerate() {
            let seen = view.seen(drawing, from, to);
            let title = format!(
                "{} \u{2192} {}: {}",
                drawing.rows[from].label, column.label, seen.text
            );
            write_cell(
                text,
                [place.left + to * CELL, y],
                &title,
                seen,
                view.promotion(drawing, from, to),
            );
        }
    }
}

/// A row without words, cells that look alike drawn as one.
fn write_row(text: &mut String, drawing: &Drawing, from: usize, [left, y]: [usize; 2], view: View) {
    let look = |to: usize| {
        let sign = view.promotion(drawing, from, to).map_or("", Promotion::sign);
        (class(view.seen(drawing, from, to).amount), sign)
    };
    let columns: Vec<usize> = (0..drawing.rows.len()).collect();
    let mut write = |class: &str, first: usize, cells: usize| {
        let (x, width, height) = (left + first * CELL + 1, cells * CELL - 2, CELL - 2);
        let _ = write!(
            text,
            "<path class=\"{class}\" d=\"M{x} {}h{width}v{height}h-{width}z\"/>",
            y + 1
        );
    };
    for alike in columns.chunk_by(|&a, &b| look(a) == look(b)) {
        let (class, sign) = look(alike[0]);
        if let Some(class) = class {
            write(class, alike[0], alike.len());
        }
        if !sign.is_empty() {
            write(frame(sign), alike[0], alike.len());
        }
    }
    text.push('\n');
}

/// How a cell is filled.
fn class(amount: Amount) -> Option<&'static str> {
    match amount {
        Amount::Nothing => None,
        Amount::Some => Some("some"),
        Amount::Everything => Some("all"),
    }
}

/// How a change is framed.
fn frame(sign: &str) -> &'static str {
    if sign == "+" { "more" } else { "less" }
}

fn write_cell(
    text: &mut String,
    [x, y]: [usize; 2],
    title: &str,
    seen: &Seen,
    promotion: Option<&Promotion>,
) {
    let class = class(seen.amount);
    let sign = promotion.map_or("", Promotion::sign);
    if class.is_none() && sign.is_empty() {
        return;
    }
    let mut title = title.to_owned();
    if let Some(removed) = promotion.and_then(|promotion| promotion.removed_text.as_ref()) {
        let _ = write!(title, "\npromotion takes away {removed}");
    }
    if let Some(added) = promotion.and_then(|promotion| promotion.added_text.as_ref()) {
        let _ = write!(title, "\npromotion adds {added}");
    }
    let _ = write!(text, "<g><title>{}</title>", escaped(&title));
    if let Some(class) = class {
        let side = CELL - 2;
        let _ = write!(
            text,
            "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{side}\" height=\"{side}\"/>",
            x + 1,
            y + 1
        );
    }
    if !sign.is_empty() {
        let (class, side) = (frame(sign), CELL - 3);
        let _ = write!(
            text,
            "<rect class=\"{class}\" x=\"{}.5\" y=\"{}.5\" width=\"{side}\" height=\"{side}\"/>\
             <text class=\"sign\" x=\"{}\" y=\"{}\">{sign}</text>",
            x + 1,
            y + 1,
            x + CELL / 2,
            y + CELL / 2 + 4
        );
    }
    text.push_str("</g>\n");
}

/// A label that is not too long for its place.
fn shortened(label: &str) -> String {
    if label.chars().count() <= LETTERS {
        return label.to_owned();
    }
    let kept: String = label.chars().take(LETTERS - 1).collect();
    format!("{kept}\u{2026}")
}

/// Text in XML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
