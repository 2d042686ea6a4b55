//! Levels made from arrivals (rule 4 over the epoll backend's edges): nothing that is left unread goes unannounced, and
//! nothing that has been taken keeps the loop awake.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use ferrio_engine::backend::{Backend, Interest, Key, Received, Slots, Usage};
use proptest::prelude::*;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recv, send, sendmsg};

use crate::epoll_rig::{EpollRig, Kind, Socket, SocketRig, Stream, Tcp, TcpRig};
use crate::event_loop::{LIMIT, Loop, readable};
use crate::rig::{Connected, Rig};

/// TCP, read by the test's own system calls.
struct TriedFirst;

impl Kind for TriedFirst {
    const USAGE: Usage = Usage::Attempts;

    fn open() -> (OwnedFd, OwnedFd) {
        Tcp::open()
    }
}

impl Stream for TriedFirst {}

type TriedRig = EpollRig<TriedFirst>;

/// A Unix socket, read by the test's own system calls.
struct TriedSocket;

impl Kind for TriedSocket {
    const USAGE: Usage = Usage::Attempts;

    fn open() -> (OwnedFd, OwnedFd) {
        Socket::open()
    }
}

impl Stream for TriedSocket {}

/// Receives into a buffer of that size; how many bytes came.
fn receive<R: Rig>(event_loop: &mut Loop<R>, key: Key, room: usize) -> Received {
    let mut buffer = vec![MaybeUninit::uninit(); room];
    event_loop.rig.backend().receive(key, &mut buffer).expect("a sound connection")
}

/// Reads past the backend, as its owner; whether there was something.
fn read(event_loop: &mut Loop<TriedRig>, key: Key, near: &OwnedFd) -> bool {
    let mut buffer = [0_u8; 4096];
    let found = recv(near, &mut buffer, RecvFlags::empty()).is_ok();
    if !found {
        event_loop.rig.backend().refused(key);
    }
    found
}

#[test]
fn what_is_not_taken_is_announced_again() {
    let mut event_loop = Loop::<TcpRig>::new();
    let (near, far) = event_loop.rig.open();
    let key = event_loop.watched(&near, Interest::READ);
    event_loop.rig.far_sends(&far, b"waits");
    let before = event_loop.rig.now();
    for _ in 0..3 {
        assert_eq!(event_loop.wait(LIMIT), [readable(key)]);
    }
    assert!(event_loop.rig.now() < before.saturating_add(LIMIT), "a wait has slept on unread bytes");
    assert_eq!(event_loop.receive(key), Ok(Some(b"waits".to_vec())));
    event_loop.assert_sleeps();
}

#[test]
fn what_a_full_buffer_left_is_announced_again() {
    let mut event_loop = Loop::<TcpRig>::new();
    let (near, far) = event_loop.rig.open();
    let key = event_loop.watched(&near, Interest::READ);
    event_loop.rig.far_sends(&far, b"123456");
    assert_eq!(event_loop.poll(), [readable(key)]);
    assert_eq!(receive(&mut event_loop, key, 3), Received::Bytes(3));
    assert_eq!(event_loop.poll(), [readable(key)]);
    assert_eq!(receive(&mut event_loop, key, 3), Received::Bytes(3));
    // Exactly full: nobody can know that nothing is left.
    assert_eq!(event_loop.poll(), [readable(key)]);
    assert_eq!(receive(&mut event_loop, key, 3), Received::Nothing);
    event_loop.assert_sleeps();
}

#[test]
fn an_end_that_came_with_the_last_bytes_is_announced() {
    let mut event_loop = Loop::<TcpRig>::new();
    let (near, far) = event_loop.rig.open();
    let key = event_loop.watched(&near, Interest::READ);
    event_loop.rig.far_sends(&far, b"last");
    event_loop.rig.far_ends(&far);
    assert_eq!(event_loop.poll(), [readable(key)]);
    assert_eq!(receive(&mut event_loop, key, 100), Received::Bytes(4));
    for _ in 0..3 {
        assert_eq!(event_loop.poll(), [readable(key)]);
        assert_eq!(receive(&mut event_loop, key, 100), Received::End);
    }
    event_loop.watch(key, Interest::NONE);
    event_loop.assert_sleeps();
}

#[test]
fn what_comes_after_urgent_data_is_announced() {
    let mut event_loop = Loop::<TcpRig>::new();
    let (near, far) = event_loop.rig.open();
    let key = event_loop.watched(&near, Interest::READ);
    event_loop.rig.far_sends(&far, b"before");
    assert_eq!(send(&far, b"!", SendFlags::OOB), Ok(1));
    event_loop.rig.far_sends(&far, b"behind");
    let mut received = 0;
    while received < 12 {
        assert_eq!(event_loop.poll(), [readable(key)], "after {received} bytes");
        // A receive ends at the mark, whatever there is room for.
        if let Received::Bytes(count) = receive(&mut event_loop, key, 100) {
            received += count;
        }
    }
    while event_loop.poll() == [readable(key)] {
        assert_eq!(receive(&mut event_loop, key, 100), Received::Nothing);
    }
    event_loop.assert_sleeps();
}

#[test]
fn pausing_keeps_the_registration_until_the_second_arrival() {
    let mut event_loop = Loop::<TcpRig>::new();
    let (near, far) = event_loop.rig.open();
    let key = event_loop.watched(&near, Interest::READ);
    event_loop.watch(key, Interest::NONE);
    assert_eq!(event_loop.rig.backend().registrations(), 1);
    event_loop.rig.far_sends(&far, b"1");
    assert_eq!(event_loop.poll(), []);
    assert_eq!(event_loop.rig.backend().registrations(), 1);
    event_loop.rig.far_sends(&far, b"2");
    assert_eq!(event_loop.poll(), []);
    assert_eq!(event_loop.rig.backend().registrations(), 0);
    event_loop.rig.far_sends(&far, b"3");
    event_loop.assert_sleeps();
    event_loop.watch(key, Interest::READ);
    assert_eq!(event_loop.poll(), [readable(key)]);
    assert_eq!(event_loop.receive(key), Ok(Some(b"123".to_vec())));
    event_loop.assert_sleeps();
}

#[test]
fn what_arrived_during_a_pause_is_announced_when_it_ends() {
    for arrivals in 1..4 {
        let mut event_loop = Loop::<TcpRig>::new();
        let (near, far) = event_loop.rig.open();
        let key = event_loop.watched(&near, Interest::READ);
        event_loop.watch(key, Interest::NONE);
        for _ in 0..arrivals {
            event_loop.rig.far_sends(&far, b"x");
            event_loop.assert_silent();
        }
        event_loop.watch(key, Interest::READ);
        assert_eq!(event_loop.poll(), [readable(key)]);
        assert_eq!(event_loop.receive(key), Ok(Some(vec![b'x'; arrivals])));
        event_loop.assert_sleeps();
    }
}

#[test]
fn what_is_left_comes_before_what_arrived_since() {
    let mut event_loop = Loop::<TcpRig>::new();
    let (near, far) = event_loop.rig.open();
    let (other, other_far) = event_loop.rig.open();
    let first = event_loop.watched(&near, Interest::READ);
    let second = event_loop.watched(&other, Interest::READ);
    event_loop.rig.far_sends(&far, b"x");
    assert_eq!(event_loop.poll(), [readable(first)]);
    event_loop.rig.far_sends(&other_far, b"x");
    event_loop.rig.far_sends(&far, b"y");
    assert_eq!(event_loop.poll(), [readable(first), readable(second)]);
}

#[test]
fn a_caller_that_tries_first_waits_without_system_calls_and_misses_nothing() {
    let mut event_loop = Loop::<TriedRig>::new();
    let (near, far) = event_loop.rig.open();
    let key = event_loop.attach(&near);
    for _ in 0..3 {
        assert!(!read(&mut event_loop, key, &near));
        event_loop.watch(key, Interest::READ);
        event_loop.rig.far_sends(&far, b"x");
        assert_eq!(event_loop.poll(), [readable(key)]);
        event_loop.watch(key, Interest::NONE);
        assert!(read(&mut event_loop, key, &near));
        assert_eq!(event_loop.rig.backend().registrations(), 1);
    }
    event_loop.assert_sleeps();
}

#[test]
fn a_caller_that_is_refused_is_not_told_of_what_it_has_taken() {
    let mut event_loop = Loop::<TriedRig>::new();
    let (near, far) = event_loop.rig.open();
    let key = event_loop.watched(&near, Interest::READ);
    event_loop.watch(key, Interest::NONE);
    event_loop.rig.far_sends(&far, b"x");
    event_loop.assert_silent();
    assert!(read(&mut event_loop, key, &near));
    assert!(!read(&mut event_loop, key, &near));
    event_loop.watch(key, Interest::READ);
    event_loop.assert_sleeps();
}

#[test]
fn a_short_receive_of_the_callers_own_shows_that_nothing_is_left() {
    let mut event_loop = Loop::<TriedRig>::new();
    let (near, far) = event_loop.rig.open();
    let key = event_loop.watched(&near, Interest::READ);
    for _ in 0..3 {
        event_loop.rig.far_sends(&far, b"x");
        assert_eq!(event_loop.poll(), [readable(key)]);
        event_loop.watch(key, Interest::NONE);
        assert_eq!(recv(&near, &mut [0_u8; 100][..], RecvFlags::empty()).map(|(_, count)| count), Ok(1));
        assert!(event_loop.rig.backend().received_short(key));
        event_loop.watch(key, Interest::READ);
        event_loop.assert_sleeps();
    }
}

#[test]
fn beside_the_end_of_the_stream_a_short_receive_shows_nothing() {
    let mut event_loop = Loop::<TriedRig>::new();
    let (near, far) = event_loop.rig.open();
    let key = event_loop.watched(&near, Interest::READ);
    event_loop.rig.far_sends(&far, b"x");
    event_loop.rig.far_ends(&far);
    assert_eq!(event_loop.poll(), [readable(key)]);
    assert!(read(&mut event_loop, key, &near));
    assert!(!event_loop.rig.backend().received_short(key));
    assert_eq!(event_loop.poll(), [readable(key)]);
}

#[test]
fn a_short_receive_from_messages_shows_nothing() {
    let mut event_loop = Loop::<EpollRig<TriedSocket>>::new();
    let (near, far) = event_loop.rig.open();
    let key = event_loop.watched(&near, Interest::READ);
    event_loop.rig.far_sends(&far, b"x");
    assert_eq!(event_loop.poll(), [readable(key)]);
    assert_eq!(recv(&near, &mut [0_u8; 100][..], RecvFlags::empty()).map(|(_, count)| count), Ok(1));
    assert!(!event_loop.rig.backend().received_short(key));
}

#[test]
fn a_short_receive_without_a_registration_for_arrivals_shows_nothing() {
    let mut event_loop = Loop::<TriedRig>::new();
    let (near, far) = event_loop.rig.open();
    let key = event_loop.watched(&near, Interest::BOTH);
    event_loop.rig.far_sends(&far, b"x");
    assert_eq!(recv(&near, &mut [0_u8; 100][..], RecvFlags::empty()).map(|(_, count)| count), Ok(1));
    assert!(!event_loop.rig.backend().received_short(key));
}

#[test]
fn the_number_of_a_watched_file_is_told_from_that_of_another() {
    let mut event_loop = Loop::<TriedRig>::new();
    let (mut near, far) = event_loop.rig.open();
    let (other, other_far) = event_loop.rig.open();
    let key = event_loop.attach(&near);
    assert_eq!(event_loop.rig.backend().names_watched_file(key), None);
    event_loop.watch(key, Interest::READ);
    assert_eq!(event_loop.rig.backend().names_watched_file(key), Some(true));
    event_loop.rig.put_under(&other, &mut near);
    assert_eq!(event_loop.rig.backend().names_watched_file(key), Some(false));
    // The question has left no registration behind.
    event_loop.rig.far_sends(&other_far, b"x");
    event_loop.rig.far_sends(&far, b"x");
    event_loop.assert_silent();
}

#[test]
fn a_socket_that_keeps_messages_apart_is_asked_until_it_is_empty() {
    let mut event_loop = Loop::<SocketRig>::new();
    let (near, far) = event_loop.rig.open();
    let key = event_loop.watched(&near, Interest::READ);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut attachment = SendAncillaryBuffer::new(&mut space);
    let lent = [near.as_fd()];
    assert!(attachment.push(SendAncillaryMessage::ScmRights(&lent)));
    let sent = sendmsg(&far, &[IoSlice::new(b"with a descriptor")], &mut attachment, SendFlags::empty());
    assert_eq!(sent, Ok(17));
    event_loop.rig.far_sends(&far, b"plain");
    for bytes in [17, 5] {
        assert_eq!(event_loop.poll(), [readable(key)]);
        assert_eq!(receive(&mut event_loop, key, 100), Received::Bytes(bytes));
    }
    event_loop.assert_sleeps();
}

#[derive(Clone, Debug)]
enum Step {
    FarSends(usize),
    FarEnds,
    Receive(usize),
    Watch(bool),
    /// Asks the kernel again.
    WatchAgain,
    Poll,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_usize..20).prop_map(Step::FarSends),
        1 => Just(Step::FarEnds),
        4 => (1_usize..20).prop_map(Step::Receive),
        2 => any::<bool>().prop_map(Step::Watch),
        1 => Just(Step::WatchAgain),
        6 => Just(Step::Poll),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Two connections, so that slots, lists and order mix.
    #[test]
    fn whatever_happens_the_unread_and_wanted_is_announced_and_the_taken_soon_is_not(
        steps in prop::collection::vec((any::<bool>(), step()), 0..60),
    ) {
        let mut event_loop = Loop::<TcpRig>::new();
        let ends = [event_loop.rig.open(), event_loop.rig.open()];
        let mut keys = Slots::default();
        let keys = [keys.insert(()), keys.insert(())];
        // Bytes that have not been received, whether the far end has ended, whether it is watched.
        let mut model = [(0_usize, false, false); 2];
        for (key, (near, _)) in keys.iter().zip(&ends) {
            event_loop.rig.backend().attach(*key, near.as_fd(), Usage::Stream).expect("open");
        }
        for (which, step) in steps {
            let which = usize::from(which);
            let (key, far) = (keys[which], &ends[which].1);
            let (unread, has_ended, is_watched) = &mut model[which];
            match step {
                Step::FarSends(count) if !*has_ended => {
                    event_loop.rig.far_sends(far, &vec![0; count]);
                    *unread += count;
                }
                Step::FarEnds if !*has_ended => {
                    event_loop.rig.far_ends(far);
                    *has_ended = true;
                }
                Step::FarSends(_) | Step::FarEnds => {}
                Step::Receive(room) => {
                    let expected = match (*unread).min(room) {
                        0 if *has_ended => Received::End,
                        0 => Received::Nothing,
                        count => Received::Bytes(count),
                    };
                    prop_assert_eq!(receive(&mut event_loop, key, room), expected);
                    *unread = unread.saturating_sub(room);
                }
                Step::Watch(wanted) => {
                    event_loop.watch(key, if wanted { Interest::READ } else { Interest::NONE });
                    *is_watched = wanted;
                }
                Step::WatchAgain => {
                    let watched = event_loop.rig.backend().watched(key);
                    event_loop.watch(key, watched);
                }
                Step::Poll => {
                    let found = event_loop.poll();
                    for (index, key) in keys.iter().enumerate() {
                        let (unread, has_ended, is_watched) = model[index];
                        let count = found.iter().filter(|found| found.key == *key).count();
                        prop_assert!(count <= 1, "announced once a wait");
                        if is_watched && (unread > 0 || has_ended) {
                            prop_assert_eq!(count, 1, "{:?} of {:?}", index, model);
                        }
                        if !is_watched {
                            prop_assert_eq!(count, 0);
                        }
                    }
                }
            }
        }
        // With everything taken, or the end not wanted any more, a wait sleeps.
        for (which, key) in keys.into_iter().enumerate() {
            while !matches!(receive(&mut event_loop, key, 100), Received::Nothing | Received::End) {}
            if model[which].1 {
                event_loop.watch(key, Interest::NONE);
            }
        }
        event_loop.assert_silent();
    }
}
