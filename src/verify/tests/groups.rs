//! Files are handed over in groups, and none is lost.

use super::super::groups::Groups;

#[test]
fn a_group_is_sent_when_it_has_enough_files_or_bytes_and_the_last_at_the_end() {
    let (mut groups, waiting) = Groups::new(1);
    for number in 0..64 {
        assert!(waiting.is_empty());
        groups.push(number, 1);
    }
    assert_eq!(waiting.try_recv().unwrap(), (0..64).collect::<Vec<_>>());
    groups.push(64, (4 << 20) - 1);
    assert!(waiting.is_empty());
    groups.push(65, 1);
    assert_eq!(waiting.try_recv().unwrap(), [64, 65]);
    // The bytes of the previous group don't count.
    groups.push(66, 1);
    assert!(waiting.is_empty());
    groups.send();
    assert_eq!(waiting.try_recv().unwrap(), [66]);
}
