//! A fixed number of futures at a time.

/// Awaits several futures at a time; gives their outputs as a tuple. They are parts of the task that awaits: no task is
/// made, so they may borrow, and what has ended is not polled again. For a list there is [`join_all`](crate::join_all).
///
/// # Examples
/// ```
/// ferrio::run(async {
///     let text = String::from("text");
///     let (length, nothing) = ferrio::gather!(async { text.len() }, ferrio::yield_now());
///     assert_eq!((length, nothing), (4, ()));
/// });
/// ```
#[macro_export]
macro_rules! gather {
    // Gives each future a name of its own: the hygiene of macros keeps the `future`s of different rounds apart.
    (@named $($name:ident = $named:expr,)* ; $next:expr $(, $rest:expr)*) => {
        $crate::gather!(@named $($name = $named,)* future = $next, ; $($rest),*)
    };
    (@named $($name:ident = $named:expr,)+ ;) => {{
        $(let mut $name = ::core::pin::pin!($crate::__private::maybe_done($named));)+
        ::core::future::poll_fn(move |context| {
            let mut is_done = true;
            $(is_done &= ::core::future::Future::poll($name.as_mut(), context).is_ready();)+
            if is_done {
                ::core::task::Poll::Ready(($($name.as_mut().take_output().expect("it is done"),)+))
            } else {
                ::core::task::Poll::Pending
            }
        })
        .await
    }};
    ($($future:expr),+ $(,)?) => {
        $crate::gather!(@named ; $($future),+)
    };
}
