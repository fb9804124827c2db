//! A pool of guests takes little memory for each, and gives it back. Alone in its process, whose memory is measured.

#[path = "../examples/pool.rs"]
mod pool;

#[test]
fn guests_take_little_memory_and_give_it_back() {
    const GUESTS: usize = 1000;
    let (sum, [before, with, after]) = pool::run(GUESTS).expect("the example runs");
    assert_eq!(sum, (1..=GUESTS as i64).map(|n| n + 1).sum::<i64>());
    let each = with.saturating_sub(before) / GUESTS;
    assert!(each <= 80, "{each} kB for each guest");
    let left = after.saturating_sub(before);
    assert!(left <= with.saturating_sub(before) / 10, "{left} kB are left of {} kB", with - before);
}
