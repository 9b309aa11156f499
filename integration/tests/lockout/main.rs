mod stand;
#[test]
fn smoke() {
    let mut stand = stand::Stand::new("safetyNet: false\n", stand::SSH, false).unwrap();
    stand.answers().unwrap();
    println!("{:?}", stand.opens_within(std::time::Duration::from_secs(3)));
    stand
        .daemon
        .write("ssh.yaml", &stand::GOOD[4].1.replace("2222", "22222"))
        .unwrap();
    println!("{:?}", stand.palisade("reload"));
    println!("{:?}", stand.palisade("plan"));
    println!("{:?}", stand.palisade("reload --force"));
    println!("{:?}", stand.lets_in());
    stand.answers().unwrap();
}
