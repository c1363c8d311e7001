//! Queues that are long for a moment.

use alloc::collections::VecDeque;

/// So much memory an empty queue keeps, in bytes.
const KEPT: usize = 2 * 1024;
/// So many places it keeps, however large they are.
const KEPT_PLACES: usize = 16;

/// Takes the first. A queue that is empty then gives back what a burst has made it take: a node has a few of them, but
/// a process may have thousands of nodes.
pub(crate) fn pop_front<T>(queue: &mut VecDeque<T>) -> Option<T> {
    let first = queue.pop_front()?;
    let occupied = queue.capacity().saturating_mul(size_of::<T>());
    if queue.is_empty() && occupied > KEPT && queue.capacity() > KEPT_PLACES {
        *queue = VecDeque::new();
    }
    Some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_long_queue_that_is_empty_gives_its_memory_back() {
        let mut queue: VecDeque<u64> = (0..KEPT as u64).collect();
        for number in 0..KEPT as u64 {
            assert!(queue.capacity() >= KEPT);
            assert_eq!(pop_front(&mut queue), Some(number));
        }
        assert_eq!((queue.capacity(), pop_front(&mut queue)), (0, None));
        queue.extend(0..8);
        while pop_front(&mut queue).is_some() {}
        assert!(queue.capacity() >= 8);
    }
}
