//! Pictures: whole in themselves, and true.

use palisade_rules::analysis::picture::{dot, html, svg};
use palisade_rules::analysis::{Matrix, TooLarge};
use serde_json::Value;

use super::*;

fn example() -> Worlds {
    worlds(&[NET, DATABASE, LOCKDOWN, HOSTS])
}

/// The data of a page.
fn data(page: &str) -> Value {
    let (_, rest) = page.split_once("const data = ").unwrap();
    let (data, _) = rest.split_once(";\nconst views").unwrap();
    serde_json::from_str(data).unwrap()
}

#[test]
fn a_page_has_the_example_with_what_promotion_changes_and_why() {
    let page = html(&mut Matrix::new(&example()), "example").unwrap();
    let data = data(&page);
    let labels: Vec<&str> = data["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["label"].as_str().unwrap())
        .collect();
    assert_eq!(
        labels,
        [
            "backend-eth0",
            "database-eth0",
            "frontend-eth0",
            "0.0.0.0/0",
            "::/0"
        ]
    );
    // frontend to backend: runs of how many and which.
    let runs: Vec<usize> = serde_json::from_value(data["cells"][2].clone()).unwrap();
    let shade = &data["shades"][runs[1]];
    assert_eq!(shade["promotion"][0], serde_json::json!(["", null, null]));
    assert_eq!(
        shade["promotion"][1],
        serde_json::json!(["\u{2212}", "everything but tcp 22, udp 68,546", null])
    );
    let trace = &data["traces"]["cells"]["2,0"][0];
    assert_eq!(
        trace["asked"],
        serde_json::json!(["frontend-eth0", "backend-eth0", "tcp 443"])
    );
    assert_eq!(trace["worlds"][1]["verdict"], "allow");
    let bare = &trace["worlds"][1]["bare"];
    assert_eq!(bare["verdict"], "deny");
    let last = bare["steps"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .as_u64()
        .unwrap();
    assert_eq!(
        data["traces"]["steps"][usize::try_from(last).unwrap()],
        "ingress backend-eth0: Deny by backend-lockdown-staged (end of tier default) at 2.yaml:4:9"
    );
}

#[test]
fn nothing_is_fetched_and_no_text_is_markup() {
    let mut files = Files::default();
    let hosts = files.add("hosts.yaml", HOSTS);
    let evil = files.add(
        "</script><img src=x>.yaml",
        policy("p", "ingress: [{action: Deny}]"),
    );
    let worlds = resolve(&decode(&files, &[hosts, evil]).0.unwrap(), Host::default());
    let mut matrix = Matrix::new(&worlds);
    let page = html(&mut matrix, "<b>&").unwrap();
    assert!(page.contains("<title>&lt;b>&amp;</title>"));
    assert!(
        page.contains("at \\u003c/script>\\u003cimg src=x>.yaml:"),
        "the data has it"
    );
    assert_eq!(
        (page.matches("</script>").count(), page.matches("<img").count()),
        (1, 0)
    );
    let page = page.replace("img src=x", "");
    for text in [page, svg(&mut matrix).unwrap()] {
        let fetched = ["src=", "href=", "url(", "@import", "fetch(", "import("];
        assert!(fetched.iter().all(|word| !text.contains(word)), "{text}");
    }
}

#[test]
fn an_image_is_well_formed_and_marks_what_is_lost() {
    let image = svg(&mut Matrix::new(&example())).unwrap();
    assert_eq!(image.matches("class=\"title\"").count(), 3);
    assert!(image.contains("frontend-eth0 \u{2192} backend-eth0: tcp 22, udp 68,546"));
    assert!(image.contains("promotion takes away everything but tcp 22, udp 68,546"));
    for tag in ["svg", "g", "text", "title", "style"] {
        let [open, shut] = [format!("<{tag}"), format!("</{tag}>")].map(|tag| image.matches(&tag).count());
        // `<text` and `<title` begin nothing else; `<g` and `<s` might.
        assert!(open >= shut && shut > 0, "{tag}: {open} {shut}");
    }
}

#[test]
fn a_graph_has_an_edge_for_each_pair_and_one_for_what_is_lost() {
    let graph = dot(&mut Matrix::new(&example())).unwrap();
    let edges: Vec<&str> = graph.lines().filter(|line| line.contains("->")).collect();
    assert!(
        edges.contains(&"  n0 -> n2 [label=\"\", style=solid, dir=both];"),
        "{graph}"
    );
    assert!(
        edges.iter().any(|edge| edge.starts_with("  n2 -> n0 ")
            && edge.contains("\u{2212} everything but tcp 22, udp 68,546, once the net is removed")),
        "{graph}"
    );
    assert!(
        edges.iter().all(|edge| !edge.starts_with("  n0 -> n0 ")),
        "{graph}"
    );
}

#[test]
fn three_hundred_endpoints_that_all_differ_are_drawn_in_sections_and_too_many_are_refused() {
    let fleet = |count: usize| -> String {
        let hosts = (0..count).map(|index| {
            host(
                &format!("h{index:04}"),
                &format!("10.1.{}.{}", index / 200, index % 200 + 1),
            )
        });
        let policies = (0..count).map(|index| {
            policy(
                &format!("p{index}"),
                &format!(
                    "selector: role == 'h{index:04}', \
                     ingress: [{{action: Allow, source: {{selector: role == 'h{:04}'}}}}]",
                    (index + 1) % count
                ),
            )
        });
        hosts.chain(policies).collect()
    };
    let worlds = worlds(&[&fleet(300)]);
    let page = html(&mut Matrix::new(&worlds), "fleet").unwrap();
    assert!(page.len() < 3_000_000, "{}", page.len());
    let sections = data(&page)["sections"].as_array().unwrap().len();
    assert_eq!(sections, 16, "fifteen of twenty hosts, and the blocks");
    assert!(svg(&mut Matrix::new(&worlds)).unwrap().len() < 8_000_000);

    let worlds = super::worlds(&[&fleet(1_000)]);
    assert_eq!(
        html(&mut Matrix::new(&worlds), "fleet"),
        Err(TooLarge {
            rows: 1_002,
            limit: 1_000
        })
    );
}
