//! Attaching, watching and waiting: rules 1 to 4, 7 and 8, and what the kernel does with numbers.

/// The tests, as a module over one rig.
macro_rules! rules {
    ($name:ident, $rig:ty) => {
        mod $name {
            use std::os::fd::{AsFd, BorrowedFd};
            use std::thread;

            use ferrio_engine::backend::{Backend, Interest, Poller};
            use rustix::io::Errno;

            use crate::event_loop::{LIMIT, Loop, readable};
            use crate::rig::Rig;

            fn new_loop() -> Loop<$rig> {
                Loop::new()
            }

            #[test]
            fn rule_1_late_news_of_a_former_key_is_dropped() {
                let mut event_loop = new_loop();
                let (near, far) = event_loop.rig.open();
                let former = event_loop.watched(&near, Interest::READ);
                event_loop.rig.make_readable(&far);
                let mut poller = event_loop.rig.backend().start_wait();
                poller.wait(Some(LIMIT)).expect("no signals");
                assert!(event_loop.detach(former).is_empty());
                let (other, _other_far) = event_loop.rig.open();
                let key = event_loop.watched(&other, Interest::READ);
                assert_eq!(key.slot(), former.slot());
                assert_ne!(key, former);
                assert_eq!(event_loop.end_wait(poller), []);
                event_loop.assert_sleeps();
            }

            #[test]
            fn rule_2_a_number_that_nobody_has_opened_is_refused() {
                let mut event_loop = new_loop();
                let key = event_loop.keys.insert(());
                // SAFETY: no process has so many descriptors open, and nothing is done with one but asking.
                let nobodys = unsafe { BorrowedFd::borrow_raw(i32::MAX) };
                let usage = <$rig as Rig>::USAGE;
                let error = event_loop.rig.backend().attach(key, nobodys, usage).expect_err("it is not open");
                assert_eq!(error.errno, Errno::BADF);
                let (near, _far) = event_loop.rig.open();
                event_loop.rig.backend().attach(key, near.as_fd(), usage).expect("the key is as it was");
                assert!(event_loop.detach(key).is_empty());
            }

            #[test]
            fn rule_2_a_descriptor_closed_from_outside_is_silent_and_cannot_be_watched() {
                let mut event_loop = new_loop();
                let (near, far) = event_loop.rig.open();
                let key = event_loop.watched(&near, Interest::READ);
                drop(near);
                drop(far);
                event_loop.assert_sleeps();
                let error = event_loop.rig.backend().watch(key, Interest::READ).expect_err("it is closed");
                assert_eq!(error.errno, Errno::BADF);
                assert_eq!(event_loop.rig.backend().watch(key, Interest::NONE), Ok(()));
                assert!(event_loop.detach(key).is_empty());
                assert_eq!(event_loop.rig.backend().registrations(), 0);
            }

            #[test]
            fn rule_2_a_number_that_was_reused_tells_the_old_key_nothing() {
                let mut event_loop = new_loop();
                let (mut near, _far) = event_loop.rig.open();
                let old = event_loop.watched(&near, Interest::READ);
                let far = event_loop.rig.replace(&mut near);
                event_loop.rig.make_readable(&far);
                event_loop.assert_silent();
                let new = event_loop.watched(&near, Interest::READ);
                assert_eq!(event_loop.poll(), [readable(new)]);
                assert_eq!(event_loop.rig.backend().watched(old), Interest::NONE);
                assert_eq!(event_loop.rig.backend().registrations(), 1);
            }

            #[test]
            fn rule_2_detaching_the_old_key_of_a_reused_number_leaves_the_new_one_alone() {
                let mut event_loop = new_loop();
                let (mut near, _far) = event_loop.rig.open();
                let old = event_loop.watched(&near, Interest::READ);
                let far = event_loop.rig.replace(&mut near);
                let new = event_loop.watched(&near, Interest::READ);
                for interest in [Interest::READ, Interest::WRITE, Interest::BOTH] {
                    let error = event_loop.rig.backend().watch(old, interest).expect_err("the number is not its own");
                    assert_eq!(error.errno, Errno::BADF);
                }
                assert_eq!(event_loop.rig.backend().watch(old, Interest::NONE), Ok(()));
                assert!(event_loop.detach(old).is_empty());
                event_loop.rig.make_readable(&far);
                assert_eq!(event_loop.poll(), [readable(new)]);
                assert_eq!(event_loop.rig.backend().registrations(), 1);
            }

            #[test]
            fn rule_2_a_second_key_of_one_file_takes_over_and_gives_back() {
                let mut event_loop = new_loop();
                let (near, far) = event_loop.rig.open();
                let first = event_loop.watched(&near, Interest::READ);
                let second = event_loop.watched(&near, Interest::READ);
                event_loop.rig.make_readable(&far);
                assert_eq!(event_loop.poll(), [readable(second)]);
                assert_eq!(event_loop.rig.backend().registrations(), 1);
                assert!(event_loop.rig.backend().watch(first, Interest::READ).is_err());
                assert!(event_loop.detach(second).is_empty());
                assert_eq!(event_loop.rig.backend().registrations(), 0);
                event_loop.assert_silent();
                event_loop.watch(first, Interest::READ);
                assert_eq!(event_loop.poll(), [readable(first)]);
            }

            #[test]
            fn rule_2_a_second_key_that_only_attaches_silences_the_first() {
                let mut event_loop = new_loop();
                let (near, far) = event_loop.rig.open();
                let first = event_loop.watched(&near, Interest::READ);
                let second = event_loop.attach(&near);
                event_loop.rig.make_readable(&far);
                event_loop.assert_sleeps();
                assert!(event_loop.detach(first).is_empty());
                event_loop.watch(second, Interest::READ);
                assert_eq!(event_loop.poll(), [readable(second)]);
            }

            #[test]
            fn rule_3_nothing_is_announced_after_detaching() {
                let mut event_loop = new_loop();
                let (near, far) = event_loop.rig.open();
                let key = event_loop.watched(&near, Interest::READ);
                event_loop.rig.make_readable(&far);
                assert_eq!(event_loop.poll(), [readable(key)]);
                assert!(event_loop.detach(key).is_empty());
                assert_eq!(event_loop.rig.backend().registrations(), 0);
                assert_eq!(event_loop.rig.backend().watched(key), Interest::NONE);
                event_loop.assert_sleeps();
            }

            #[test]
            fn rule_3_a_key_that_is_not_attached_has_nothing_to_end_or_watch() {
                let mut event_loop = new_loop();
                let (near, far) = event_loop.rig.open();
                let former = event_loop.watched(&near, Interest::READ);
                assert!(event_loop.detach(former).is_empty());
                let key = event_loop.watched(&near, Interest::READ);
                assert!(event_loop.detach(former).is_empty());
                assert_eq!(event_loop.rig.backend().watch(former, Interest::BOTH), Ok(()));
                assert_eq!(event_loop.rig.backend().watched(former), Interest::NONE);
                event_loop.rig.make_readable(&far);
                assert_eq!(event_loop.poll(), [readable(key)]);
            }

            #[test]
            fn rule_4_watching_repeats_while_there_is_something() {
                let mut event_loop = new_loop();
                let (near, far) = event_loop.rig.open();
                let key = event_loop.watched(&near, Interest::READ);
                assert_eq!(event_loop.poll(), []);
                event_loop.rig.make_readable(&far);
                for _ in 0..3 {
                    assert_eq!(event_loop.poll(), [readable(key)]);
                }
                event_loop.rig.drain(&near, &far);
                assert_eq!(event_loop.poll(), []);
                event_loop.rig.make_readable(&far);
                assert_eq!(event_loop.poll(), [readable(key)]);
            }

            #[test]
            fn rule_4_what_is_not_watched_is_not_announced() {
                let mut event_loop = new_loop();
                let (near, far) = event_loop.rig.open();
                let key = event_loop.attach(&near);
                event_loop.rig.make_readable(&far);
                assert_eq!(event_loop.rig.backend().registrations(), 0);
                event_loop.assert_silent();
                event_loop.watch(key, Interest::READ);
                assert_eq!(event_loop.rig.backend().registrations(), 1);
                assert_eq!(event_loop.poll(), [readable(key)]);
                event_loop.watch(key, Interest::NONE);
                assert_eq!(event_loop.rig.backend().registrations(), 0);
                event_loop.assert_sleeps();
            }

            #[test]
            fn rule_4_a_regular_file_cannot_be_watched() {
                let mut event_loop = new_loop();
                let file = event_loop.rig.open_regular_file();
                let key = event_loop.attach(&file);
                let error = event_loop.rig.backend().watch(key, Interest::READ).expect_err("a regular file");
                assert_eq!(error.errno, Errno::PERM);
                assert_eq!(event_loop.rig.backend().watched(key), Interest::NONE);
                assert_eq!(event_loop.rig.backend().registrations(), 0);
                assert!(event_loop.detach(key).is_empty());
            }

            #[test]
            fn rule_4_watching_again_after_close_and_reopen_hears_of_the_new_file() {
                for again in [Interest::READ, Interest::BOTH] {
                    let mut event_loop = new_loop();
                    let (mut near, _far) = event_loop.rig.open();
                    let key = event_loop.watched(&near, Interest::READ);
                    let far = event_loop.rig.replace(&mut near);
                    event_loop.watch(key, again);
                    event_loop.rig.make_readable(&far);
                    let found = event_loop.poll();
                    assert_eq!(found.len(), 1);
                    assert!(found[0].key == key && found[0].ready.reads());
                    assert_eq!(event_loop.rig.backend().registrations(), 1);
                }
            }

            #[test]
            fn rule_7_one_wait_reports_in_the_order_of_the_kernel() {
                let mut event_loop = new_loop();
                let ends: Vec<_> = (0..5).map(|_| event_loop.rig.open()).collect();
                let keys: Vec<_> = ends.iter().map(|(near, _)| event_loop.watched(near, Interest::READ)).collect();
                let order = [3, 0, 4, 2, 1];
                for index in order {
                    event_loop.rig.make_readable(&ends[index].1);
                }
                assert_eq!(event_loop.poll(), order.map(|index| readable(keys[index])));
            }

            #[test]
            fn rule_7_the_blocking_half_works_on_another_thread() {
                let mut event_loop = new_loop();
                let (near, far) = event_loop.rig.open();
                let (other, _other_far) = event_loop.rig.open();
                let key = event_loop.watched(&near, Interest::READ);
                let mut poller = event_loop.rig.backend().start_wait();
                event_loop.rig.make_readable(&far);
                let poller = thread::scope(|scope| {
                    let waiting = scope.spawn(move || {
                        poller.wait(Some(LIMIT)).expect("no signals");
                        poller
                    });
                    // Meanwhile the backend can be used.
                    let other = event_loop.watched(&other, Interest::READ);
                    assert!(event_loop.detach(other).is_empty());
                    waiting.join().expect("the wait does not panic")
                });
                assert_eq!(event_loop.end_wait(poller), [readable(key)]);
            }

            #[test]
            fn rule_7_all_of_many_are_found() {
                let mut event_loop = new_loop();
                let ends: Vec<_> = (0..400).map(|_| event_loop.rig.open()).collect();
                let mut missing: Vec<_> =
                    ends.iter().map(|(near, _)| event_loop.watched(near, Interest::READ)).collect();
                for (_, far) in &ends {
                    event_loop.rig.make_readable(far);
                }
                for _ in 0..2 {
                    let found = event_loop.poll();
                    missing.retain(|&key| !found.contains(&readable(key)));
                }
                assert_eq!(missing, []);
            }

            #[test]
            fn rule_8_an_interrupted_wait_reports_nothing_and_loses_nothing() {
                let mut event_loop = new_loop();
                let (near, far) = event_loop.rig.open();
                let key = event_loop.watched(&near, Interest::READ);
                let mut poller = event_loop.rig.backend().start_wait();
                let error = event_loop.rig.wait_for_signal(&mut poller).expect_err("a signal came");
                assert_eq!(error.errno, Errno::INTR);
                assert_eq!(event_loop.end_wait(poller), []);
                event_loop.rig.make_readable(&far);
                assert_eq!(event_loop.poll(), [readable(key)]);
            }

            #[test]
            fn rule_8_what_was_found_before_an_interrupted_wait_is_kept() {
                let mut event_loop = new_loop();
                let (near, far) = event_loop.rig.open();
                let key = event_loop.watched(&near, Interest::READ);
                event_loop.rig.make_readable(&far);
                let mut poller = event_loop.rig.backend().start_wait();
                poller.wait(Some(LIMIT)).expect("no signals");
                event_loop.rig.drain(&near, &far);
                assert!(event_loop.rig.wait_for_signal(&mut poller).is_err());
                assert_eq!(event_loop.end_wait(poller), [readable(key)]);
            }

            #[test]
            fn a_registration_kept_alive_by_a_duplicate_does_not_spin() {
                let mut event_loop = new_loop();
                let (near, far) = event_loop.rig.open();
                let (other, other_far) = event_loop.rig.open();
                let live = event_loop.watched(&other, Interest::READ);
                let key = event_loop.watched(&near, Interest::READ);
                let _duplicate = event_loop.rig.duplicate(&near);
                drop(near);
                assert!(event_loop.detach(key).is_empty());
                event_loop.rig.make_readable(&far);
                event_loop.assert_sleeps();
                event_loop.rig.make_readable(&other_far);
                assert_eq!(event_loop.poll(), [readable(live)]);
            }

            #[test]
            fn nor_does_one_left_behind_by_a_key_that_lives_on() {
                let mut event_loop = new_loop();
                let (mut near, old_far) = event_loop.rig.open();
                let key = event_loop.watched(&near, Interest::READ);
                let _duplicate = event_loop.rig.duplicate(&near);
                let new_far = event_loop.rig.replace(&mut near);
                event_loop.watch(key, Interest::READ);
                event_loop.rig.make_readable(&old_far);
                event_loop.assert_sleeps();
                event_loop.rig.make_readable(&new_far);
                assert_eq!(event_loop.poll(), [readable(key)]);
            }

            #[test]
            fn nor_does_one_whose_number_another_key_has_now() {
                let mut event_loop = new_loop();
                let (mut near, old_far) = event_loop.rig.open();
                let old = event_loop.watched(&near, Interest::READ);
                let _duplicate = event_loop.rig.duplicate(&near);
                let new_far = event_loop.rig.replace(&mut near);
                let new = event_loop.watched(&near, Interest::READ);
                event_loop.rig.make_readable(&old_far);
                event_loop.assert_sleeps();
                event_loop.rig.make_readable(&new_far);
                assert_eq!(event_loop.poll(), [readable(new)]);
                assert!(event_loop.detach(old).is_empty());
                assert_eq!(event_loop.poll(), [readable(new)]);
            }

            #[test]
            fn a_registration_left_by_a_former_key_is_taken_over() {
                let mut event_loop = new_loop();
                let (mut near, far) = event_loop.rig.open();
                let former = event_loop.watched(&near, Interest::READ);
                let duplicate = event_loop.rig.duplicate(&near);
                let _elsewhere = event_loop.rig.replace(&mut near);
                assert!(event_loop.detach(former).is_empty());
                event_loop.rig.put_under(&duplicate, &mut near);
                let key = event_loop.watched(&near, Interest::READ);
                event_loop.rig.make_readable(&far);
                assert_eq!(event_loop.poll(), [readable(key)]);
                assert!(event_loop.detach(key).is_empty());
                event_loop.assert_sleeps();
            }

            #[test]
            fn dealing_with_a_stray_registration_watches_no_foreign_file() {
                let mut event_loop = new_loop();
                let (mut closed, _closed_far) = event_loop.rig.open();
                let key = event_loop.watched(&closed, Interest::READ);
                let foreign_far = event_loop.rig.replace(&mut closed);
                let (near, far) = event_loop.rig.open();
                let former = event_loop.watched(&near, Interest::READ);
                let _duplicate = event_loop.rig.duplicate(&near);
                drop(near);
                assert!(event_loop.detach(former).is_empty());
                event_loop.rig.make_readable(&far);
                event_loop.rig.make_readable(&foreign_far);
                event_loop.assert_sleeps();
                assert_eq!(event_loop.rig.backend().watched(key), Interest::READ);
            }
        }
    };
}

pub(crate) use rules;
