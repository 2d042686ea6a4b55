//! Receiving and sending: rules 5 and 6, and what these owe to rules 2, 3 and 8.

/// The tests, as a module over one rig.
macro_rules! rules {
    ($name:ident, $rig:ty) => {
        mod $name {
            use std::cell::Cell;
            use std::rc::Rc;

            use ferrio_engine::backend::{Backend, Interest, Key, Sent};
            use ferrio_engine::buf::Chain;
            use rustix::io::Errno;

            use crate::counted_chunk::counted_chunk;
            use crate::event_loop::{LIMIT, Loop, chain, readable, writable};
            use crate::rig::{Connected, MANY_BYTES, Rig};

            fn new_loop() -> Loop<$rig> {
                Loop::new()
            }

            fn many_bytes() -> Vec<u8> {
                (0_u8..251).cycle().take(MANY_BYTES).collect()
            }

            /// Starts a send of [`many_bytes`] in chunks; how many chunks, and how many bytes were taken.
            fn start_sending(event_loop: &mut Loop<$rig>, key: Key, released: &Rc<Cell<usize>>) -> (usize, usize) {
                let mut chain = Chain::new();
                for part in many_bytes().chunks(1234) {
                    assert!(chain.push(counted_chunk(part, released)).is_none());
                }
                let chunks = chain.len_chunks();
                match event_loop.rig.backend().send(key, chain) {
                    Ok(Sent::Some { bytes }) => (chunks, bytes),
                    other => panic!("a narrow connection takes a part, not {other:?}"),
                }
            }

            #[test]
            fn rule_2_a_closed_descriptor_neither_receives_nor_sends() {
                let mut event_loop = new_loop();
                let (near, _far) = event_loop.rig.open();
                let key = event_loop.attach(&near);
                drop(near);
                let error = event_loop.receive(key).expect_err("it is closed");
                assert_eq!(error.errno, Errno::BADF);
                let released = Rc::new(Cell::new(0));
                let mut outgoing = Chain::new();
                assert!(outgoing.push(counted_chunk(b"lost", &released)).is_none());
                let error = event_loop.rig.backend().send(key, outgoing).expect_err("it is closed");
                assert_eq!((error.errno, released.get()), (Errno::BADF, 1));
                assert!(event_loop.detach(key).is_empty());
            }

            #[test]
            fn rule_2_no_byte_of_a_reused_number_goes_to_or_comes_from_the_old_key() {
                let mut event_loop = new_loop();
                let (mut near, far) = event_loop.rig.open();
                let old = event_loop.watched(&near, Interest::READ);
                event_loop.rig.narrow(&near, &far);
                let released = Rc::new(Cell::new(0));
                let (chunks, _) = start_sending(&mut event_loop, old, &released);
                let new_far = event_loop.rig.replace(&mut near);
                let new = event_loop.watched(&near, Interest::READ);
                event_loop.rig.far_sends(&new_far, b"for the new one");
                assert_eq!(event_loop.receive(old).expect_err("not its own").errno, Errno::BADF);
                assert_eq!(event_loop.rig.backend().sent(old).expect_err("not its own").errno, Errno::BADF);
                assert_eq!(released.get(), chunks);
                let sent = event_loop.rig.backend().send(old, chain(&[b"stale"]));
                assert_eq!(sent.expect_err("not its own").errno, Errno::BADF);
                assert_eq!(event_loop.poll(), [readable(new)]);
                assert_eq!(event_loop.receive(new), Ok(Some(b"for the new one".to_vec())));
                assert_eq!(event_loop.rig.backend().send(new, chain(&[b"fresh"])), Ok(Sent::All { bytes: 5 }));
                assert_eq!(event_loop.rig.far_takes(&new_far), b"fresh");
            }

            #[test]
            fn rule_2_a_descriptor_lent_to_a_second_key_works_again_afterwards() {
                let mut event_loop = new_loop();
                let (near, far) = event_loop.rig.open();
                let first = event_loop.attach(&near);
                let second = event_loop.attach(&near);
                assert!(event_loop.receive(first).is_err());
                assert_eq!(event_loop.rig.backend().send(second, chain(&[b"1"])), Ok(Sent::All { bytes: 1 }));
                assert!(event_loop.detach(second).is_empty());
                assert_eq!(event_loop.rig.backend().send(first, chain(&[b"2"])), Ok(Sent::All { bytes: 1 }));
                assert_eq!(event_loop.rig.far_takes(&far), b"12");
                event_loop.rig.far_sends(&far, b"3");
                event_loop.watch(first, Interest::READ);
                assert_eq!(event_loop.poll(), [readable(first)]);
                assert_eq!(event_loop.receive(first), Ok(Some(b"3".to_vec())));
            }

            #[test]
            fn rule_6_neither_receiving_nor_sending_waits_on_a_blocking_socket() {
                let mut event_loop = new_loop();
                let (near, far) = event_loop.rig.open();
                let key = event_loop.attach(&near);
                event_loop.rig.let_block(&near);
                assert_eq!(event_loop.receive(key), Ok(None));
                event_loop.rig.narrow(&near, &far);
                let released = Rc::new(Cell::new(0));
                let (_, taken) = start_sending(&mut event_loop, key, &released);
                assert!(taken < MANY_BYTES);
                assert!(matches!(event_loop.rig.backend().sent(key), Ok(Sent::Some { .. })));
                let _ = event_loop.detach(key);
            }

            #[test]
            fn rule_6_bytes_that_stay_the_callers_are_taken_as_far_as_there_is_room() {
                let mut event_loop = new_loop();
                let (near, far) = event_loop.rig.open();
                let key = event_loop.attach(&near);
                let bytes = many_bytes();
                assert_eq!(event_loop.rig.backend().send_now(key, &bytes[..3]), Ok(Some(3)));
                event_loop.rig.narrow(&near, &far);
                let mut taken = 3;
                while let Some(count) = event_loop.rig.backend().send_now(key, &bytes[taken..]).expect("it lives") {
                    taken += count;
                }
                assert!(taken < MANY_BYTES);
                event_loop.assert_silent();
                let arrived = event_loop.rig.far_takes(&far);
                assert_eq!(arrived, &bytes[..arrived.len()]);
                assert!(event_loop.detach(key).is_empty());
                let late = event_loop.rig.backend().send_now(key, &bytes);
                assert_eq!(late.expect_err("it has been detached").errno, Errno::BADF);
            }

            #[test]
            fn rule_3_a_key_that_is_not_attached_receives_nothing_and_cannot_send() {
                let mut event_loop = new_loop();
                let (near, far) = event_loop.rig.open();
                let former = event_loop.attach(&near);
                assert!(event_loop.detach(former).is_empty());
                let _present = event_loop.attach(&near);
                event_loop.rig.far_sends(&far, b"x");
                assert_eq!(event_loop.receive(former), Ok(None));
                assert_eq!(event_loop.rig.backend().sent(former), Ok(Sent::All { bytes: 0 }));
                let sent = event_loop.rig.backend().send(former, chain(&[b"late"]));
                assert_eq!(sent.expect_err("it has been detached").errno, Errno::BADF);
                assert_eq!(event_loop.rig.far_takes(&far), b"");
            }

            #[test]
            fn rule_3_detaching_gives_the_chunks_of_the_send_back() {
                let mut event_loop = new_loop();
                let (near, far) = event_loop.rig.open();
                let key = event_loop.watched(&near, Interest::BOTH);
                event_loop.rig.narrow(&near, &far);
                let released = Rc::new(Cell::new(0));
                let (chunks, taken) = start_sending(&mut event_loop, key, &released);
                let rest = event_loop.detach(key);
                assert_eq!(rest.len_bytes(), MANY_BYTES - taken);
                assert_eq!(rest.front(), &many_bytes()[taken..][..rest.front().len()]);
                assert_eq!(released.get(), chunks - rest.len_chunks());
                drop(rest);
                assert_eq!(released.get(), chunks);
                event_loop.rig.far_sends(&far, b"x");
                assert_eq!(event_loop.rig.far_takes(&far), many_bytes()[..taken]);
                assert_eq!(event_loop.rig.backend().registrations(), 0);
                event_loop.assert_sleeps();
            }

            #[test]
            fn rule_4_writing_is_announced_while_there_is_room() {
                let mut event_loop = new_loop();
                let (near, far) = event_loop.rig.open();
                let key = event_loop.watched(&near, Interest::WRITE);
                for _ in 0..2 {
                    assert_eq!(event_loop.poll(), [writable(key)]);
                }
                event_loop.watch(key, Interest::BOTH);
                event_loop.rig.far_sends(&far, b"x");
                let found = event_loop.poll();
                assert_eq!(found.len(), 1);
                assert_eq!((found[0].key, found[0].ready), (key, Interest::BOTH));
            }

            #[test]
            fn rule_5_no_byte_is_lost_while_nobody_watches() {
                let mut event_loop = new_loop();
                let (near, far) = event_loop.rig.open();
                let key = event_loop.watched(&near, Interest::READ);
                event_loop.rig.far_sends(&far, b"first");
                assert_eq!(event_loop.poll(), [readable(key)]);
                event_loop.watch(key, Interest::NONE);
                event_loop.assert_silent();
                assert_eq!(event_loop.receive(key), Ok(Some(b"first".to_vec())));
                event_loop.rig.far_sends(&far, b"second");
                event_loop.assert_silent();
                event_loop.watch(key, Interest::READ);
                assert_eq!(event_loop.poll(), [readable(key)]);
                assert_eq!(event_loop.receive(key), Ok(Some(b"second".to_vec())));
                assert_eq!(event_loop.receive(key), Ok(None));
            }

            #[test]
            fn rule_5_what_would_come_is_counted_and_not_taken() {
                let mut event_loop = new_loop();
                let (near, far) = event_loop.rig.open();
                let key = event_loop.watched(&near, Interest::READ);
                assert_eq!(event_loop.rig.backend().waiting_bytes(key), 0);
                event_loop.rig.far_sends(&far, b"first");
                assert_eq!(event_loop.poll(), [readable(key)]);
                for _ in 0..2 {
                    assert_eq!(event_loop.rig.backend().waiting_bytes(key), 5);
                }
                assert_eq!(event_loop.receive(key), Ok(Some(b"first".to_vec())));
                event_loop.rig.far_sends(&far, b"second");
                assert_eq!(event_loop.poll(), [readable(key)]);
                drop(event_loop.detach(key));
                assert_eq!(event_loop.rig.backend().waiting_bytes(key), 0);
            }

            #[test]
            fn rule_5_what_the_buffer_does_not_hold_comes_with_the_next_receive() {
                let mut event_loop = new_loop();
                let (near, far) = event_loop.rig.open();
                let key = event_loop.watched(&near, Interest::READ);
                let bytes = &many_bytes()[..2500];
                event_loop.rig.far_sends(&far, bytes);
                event_loop.rig.far_ends(&far);
                let mut received = Vec::new();
                loop {
                    assert_eq!(event_loop.poll(), [readable(key)]);
                    match event_loop.receive(key).expect("a sound connection").expect("it was announced") {
                        part if part.is_empty() => break,
                        part => received.extend(part),
                    }
                }
                assert_eq!(received, bytes);
                assert_eq!(event_loop.receive(key), Ok(Some(Vec::new())));
            }

            #[test]
            fn rule_5_a_broken_connection_is_announced_and_received_as_an_error() {
                let mut event_loop = new_loop();
                let (near, far) = event_loop.rig.open();
                let key = event_loop.watched(&near, Interest::READ);
                assert_eq!(event_loop.rig.backend().send(key, chain(&[b"unread"])), Ok(Sent::All { bytes: 6 }));
                event_loop.rig.far_breaks(far);
                assert_eq!(event_loop.poll(), [readable(key)]);
                assert_eq!(event_loop.receive(key).expect_err("a reset").errno, Errno::CONNRESET);
                assert_eq!(event_loop.receive(key), Ok(Some(Vec::new())));
            }

            #[test]
            fn rule_6_a_send_that_is_taken_at_once_ends_at_once() {
                let mut event_loop = new_loop();
                let (near, far) = event_loop.rig.open();
                let key = event_loop.attach(&near);
                let released = Rc::new(Cell::new(0));
                let mut outgoing = Chain::new();
                for part in [b"head".as_slice(), b"er", b"body"] {
                    assert!(outgoing.push(counted_chunk(part, &released)).is_none());
                }
                assert_eq!(event_loop.rig.backend().send(key, outgoing), Ok(Sent::All { bytes: 10 }));
                assert_eq!(released.get(), 3);
                assert_eq!(event_loop.rig.far_takes(&far), b"headerbody");
                assert_eq!(event_loop.rig.backend().sent(key), Ok(Sent::All { bytes: 0 }));
                assert_eq!(event_loop.rig.backend().registrations(), 0);
            }

            #[test]
            fn rule_6_sending_nothing_ends_at_once() {
                let mut event_loop = new_loop();
                let (near, _far) = event_loop.rig.open();
                let key = event_loop.attach(&near);
                assert_eq!(event_loop.rig.backend().send(key, Chain::new()), Ok(Sent::All { bytes: 0 }));
            }

            #[test]
            fn rule_6_bytes_leave_in_order_and_the_send_ends_once() {
                for interest in [Interest::NONE, Interest::READ] {
                    let mut event_loop = new_loop();
                    let (near, far) = event_loop.rig.open();
                    let key = event_loop.watched(&near, interest);
                    event_loop.rig.narrow(&near, &far);
                    let released = Rc::new(Cell::new(0));
                    let (chunks, mut taken) = start_sending(&mut event_loop, key, &released);
                    let mut arrived = Vec::new();
                    loop {
                        assert!(released.get() < chunks);
                        assert_eq!(event_loop.rig.backend().registrations(), 1);
                        arrived.extend(event_loop.rig.far_takes(&far));
                        assert_eq!(event_loop.wait(LIMIT), [writable(key)]);
                        match event_loop.rig.backend().sent(key).expect("a sound connection") {
                            Sent::Some { bytes } => taken += bytes,
                            Sent::All { bytes } => {
                                taken += bytes;
                                break;
                            }
                        }
                    }
                    arrived.extend(event_loop.rig.far_takes(&far));
                    assert_eq!((taken, released.get()), (MANY_BYTES, chunks));
                    assert!(arrived == many_bytes());
                    assert_eq!(event_loop.rig.backend().watched(key), interest);
                    event_loop.assert_sleeps();
                    assert_eq!(event_loop.rig.backend().sent(key), Ok(Sent::All { bytes: 0 }));
                    assert!(event_loop.detach(key).is_empty());
                }
            }

            #[test]
            fn rule_6_a_send_goes_on_whatever_is_watched_beside_it() {
                let mut event_loop = new_loop();
                let (near, far) = event_loop.rig.open();
                let key = event_loop.watched(&near, Interest::READ);
                event_loop.rig.narrow(&near, &far);
                let (_, taken) = start_sending(&mut event_loop, key, &Rc::default());
                event_loop.watch(key, Interest::NONE);
                let arrived = event_loop.rig.far_takes(&far);
                assert_eq!(arrived.len(), taken);
                assert_eq!(event_loop.wait(LIMIT), [writable(key)]);
                event_loop.watch(key, Interest::WRITE);
                event_loop.watch(key, Interest::NONE);
                assert_eq!(event_loop.poll(), [writable(key)]);
                assert_eq!(event_loop.rig.backend().registrations(), 1);
            }

            #[test]
            fn rule_6_a_failed_send_ends_with_its_error_and_releases_its_chunks() {
                let mut event_loop = new_loop();
                let (near, far) = event_loop.rig.open();
                let key = event_loop.attach(&near);
                event_loop.rig.narrow(&near, &far);
                let released = Rc::new(Cell::new(0));
                let (chunks, _) = start_sending(&mut event_loop, key, &released);
                event_loop.rig.far_breaks(far);
                let error = loop {
                    assert_eq!(event_loop.wait(LIMIT), [writable(key)]);
                    match event_loop.rig.backend().sent(key) {
                        Ok(Sent::Some { .. }) => {}
                        Ok(Sent::All { .. }) => panic!("nobody took the rest"),
                        Err(error) => break error,
                    }
                };
                assert!(matches!(error.errno, Errno::PIPE | Errno::CONNRESET));
                assert_eq!(released.get(), chunks);
                assert_eq!(event_loop.rig.backend().registrations(), 0);
                assert_eq!(event_loop.rig.backend().sent(key), Ok(Sent::All { bytes: 0 }));
                assert!(event_loop.detach(key).is_empty());
                assert_eq!(released.get(), chunks);
            }

            #[test]
            fn rule_8_an_announcement_may_turn_out_to_be_nothing() {
                let mut event_loop = new_loop();
                let (near, far) = event_loop.rig.open();
                let key = event_loop.watched(&near, Interest::READ);
                event_loop.rig.far_sends(&far, b"taken by somebody else");
                assert_eq!(event_loop.poll(), [readable(key)]);
                event_loop.rig.drain(&near, &far);
                assert_eq!(event_loop.receive(key), Ok(None));
                assert_eq!(event_loop.poll(), []);
            }
        }
    };
}

pub(crate) use rules;
