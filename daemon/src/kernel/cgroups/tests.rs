use super::*;

fn units<const N: usize>(units: [ServiceUnit; N]) -> BTreeSet<ServiceUnit> {
    units.into()
}

fn unit(name: &str) -> ServiceUnit {
    ServiceUnit::Unit(name.to_owned())
}

fn cgroup(path: &str) -> ServiceUnit {
    ServiceUnit::Cgroup(path.to_owned())
}

/// A directory that stands for the hierarchy: to the walk it is one like any other.
struct Tree {
    directory: tempfile::TempDir,
    cgroups: Arc<Cgroups>,
}

impl Tree {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let cgroups = Cgroups::new();
        *lock(&cgroups.hierarchy) = Some(directory.path().to_owned());
        Tree { directory, cgroups }
    }

    fn make(&self, path: &str) {
        std::fs::create_dir_all(self.directory.path().join(path)).unwrap();
    }

    fn remove(&self, path: &str) {
        std::fs::remove_dir(self.directory.path().join(path)).unwrap();
    }

    fn paths(&self, units: &BTreeSet<ServiceUnit>) -> Vec<String> {
        self.cgroups.read(units).unwrap().into_keys().collect()
    }

    /// Whether a change is noticed, given all the time that a notification may take.
    async fn notices(&self) -> bool {
        tokio::time::timeout(Duration::from_millis(300), self.cgroups.changed())
            .await
            .is_ok()
    }
}

#[tokio::test]
async fn units_are_found_in_slices_and_nowhere_else() {
    let tree = Tree::new();
    for path in [
        "system.slice/web.service",
        "system.slice/system-web.slice/web.service",
        "web.service",
        "system.slice/container.scope/system.slice/web.service",
        "user.slice/user-1000.slice/web.service",
        "system.slice/other.service",
    ] {
        tree.make(path);
    }
    std::fs::write(tree.directory.path().join("system.slice/cgroup.procs"), "").unwrap();
    assert_eq!(
        tree.paths(&units([unit("web.service")])),
        [
            "system.slice/system-web.slice/web.service",
            "system.slice/web.service",
            "web.service"
        ]
    );
    assert_eq!(tree.paths(&units([unit("system.slice")])), ["system.slice"]);
    assert_eq!(tree.paths(&units([])), [] as [&str; 0]);
}

#[tokio::test]
async fn a_path_is_found_wherever_it_leads() {
    let tree = Tree::new();
    tree.make("user.slice/user-1000.slice/app/worker");
    tree.make("app/worker");
    let wanted = units([cgroup("user.slice/user-1000.slice/app"), cgroup("absent/worker")]);
    let found = tree.cgroups.read(&wanted).unwrap();
    let inode = std::fs::metadata(tree.directory.path().join("user.slice/user-1000.slice/app"))
        .unwrap()
        .ino();
    assert_eq!(
        found,
        BTreeMap::from([("user.slice/user-1000.slice/app".to_owned(), inode)])
    );
}

#[tokio::test]
async fn a_unit_that_comes_or_goes_is_noticed_and_others_are_not() {
    let tree = Tree::new();
    tree.make("system.slice");
    let wanted = units([unit("web.service")]);
    assert_eq!(tree.paths(&wanted), [] as [&str; 0]);

    tree.make("system.slice/other.service");
    assert!(!tree.notices().await, "another unit matters to nobody");
    tree.make("system.slice/web.service");
    assert!(tree.notices().await);
    assert_eq!(tree.paths(&wanted), ["system.slice/web.service"]);
    tree.remove("system.slice/web.service");
    assert!(tree.notices().await);
    assert_eq!(tree.paths(&wanted), [] as [&str; 0]);

    // A slice that comes later is watched from the next reading on.
    tree.make("late.slice");
    assert!(tree.notices().await);
    assert_eq!(tree.paths(&wanted), [] as [&str; 0]);
    tree.make("late.slice/web.service");
    assert!(tree.notices().await);
    assert_eq!(tree.paths(&wanted), ["late.slice/web.service"]);
}

#[tokio::test]
async fn what_nobody_wants_any_more_is_not_watched() {
    let tree = Tree::new();
    tree.make("system.slice/web.service");
    tree.paths(&units([unit("web.service")]));
    tree.paths(&units([]));
    tree.remove("system.slice/web.service");
    assert!(!tree.notices().await);
    tree.cgroups.look_again();
    assert!(tree.notices().await);
}

#[tokio::test]
async fn without_watches_the_cgroups_are_looked_at_again_and_again() {
    let tree = Tree::new();
    tree.cgroups.inotify.set(None).unwrap();
    tree.make("system.slice");
    let wanted = units([unit("web.service")]);
    assert_eq!(tree.paths(&wanted), [] as [&str; 0]);
    tree.make("system.slice/web.service");
    tree.cgroups.changed().await;
    assert_eq!(tree.paths(&wanted), ["system.slice/web.service"]);
    assert!(tree.cgroups.polling.load(Ordering::Relaxed));
    // With nothing to look for there is nothing to look at.
    tree.paths(&units([]));
    assert!(!tree.cgroups.polling.load(Ordering::Relaxed));
}

#[test]
fn overflow_matters_whatever_was_lost() {
    let names = names(&units([cgroup("a/b")]));
    assert_eq!(names, BTreeSet::from(["a".to_owned(), "b".to_owned()]));
    assert!(matters(&names, AddWatchFlags::IN_Q_OVERFLOW, None));
    let created = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_ISDIR;
    assert!(matters(&names, created, Some("b".as_ref())));
    assert!(!matters(&names, created, Some("c".as_ref())));
    assert!(!matters(&names, AddWatchFlags::IN_CREATE, Some("b".as_ref())));
}

#[test]
fn the_whole_hierarchy_is_taken_and_no_part_of_one() {
    let mounts = "\
29 23 0:26 / /sys/fs/cgroup rw,nosuid - tmpfs tmpfs rw,mode=755
36 29 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
40 29 0:38 /system.slice /mnt/part rw - cgroup2 cgroup2 rw
41 29 0:38 / /sys/fs/cgroup/unified rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate
";
    assert_eq!(mounted(mounts), Some(PathBuf::from("/sys/fs/cgroup/unified")));
    assert_eq!(mounted("29 23 0:26 / /sys rw - sysfs sysfs rw\n"), None);
}
