//! Where services are found.

use super::*;

fn found(unit: &str) -> String {
    let host = Host {
        cgroups: [
            ("app.slice", 1),
            ("app.slice/web.service", 2),
            ("system.slice/web.service", 3),
            ("user.slice/user-0.slice/web.service", 4),
            ("system.slice/web.service.d", 5),
        ]
        .map(|(path, id)| (path.to_owned(), id))
        .into(),
        ..host("one")
    };
    let resources = [service("s", "", &format!("node: one, {unit}"))];
    let worlds = resolve(&read(&resources), host);
    attached(&worlds).remove(1)
}

#[test]
fn a_unit_is_found_in_whichever_slice_it_runs_but_a_users_own() {
    assert_eq!(
        found("unit: web.service"),
        "s: app.slice/web.service system.slice/web.service, "
    );
    assert_eq!(found("unit: app.slice"), "s: app.slice, ");
    assert_eq!(found("unit: absent.service"), "s: , ");
}

#[test]
fn a_path_is_one_place() {
    assert_eq!(
        found("cgroup: app.slice/web.service"),
        "s: app.slice/web.service, "
    );
    assert_eq!(
        found("cgroup: user.slice/user-0.slice/web.service"),
        "s: user.slice/user-0.slice/web.service, "
    );
    assert_eq!(found("cgroup: web.service"), "s: , ");
}

#[test]
fn the_level_is_how_deep_it_lies() {
    let cgroup = |path: &str| Cgroup {
        path: path.to_owned(),
        id: 1,
    };
    assert_eq!(cgroup("app.slice").level(), 1);
    assert_eq!(cgroup("app.slice/web.service/worker").level(), 3);
}

#[test]
fn without_profiles_it_is_its_host_that_decides() {
    let worlds = resolve(&read(&[service("s", "", "node: one, unit: s.service")]), live());
    let profiles = worlds.profiles_of(endpoint(&worlds, "s"));
    let names: Vec<&str> = profiles.map(|profile| profile.name.as_str()).collect();
    assert_eq!(names, [DEFAULT_ALLOW_PROFILE]);
}
