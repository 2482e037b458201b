//! What a panic in user code said and where: kept by a hook, because unwinding tells only the message.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;

use tidegate_runtime::error::Error;

thread_local! {
    static IS_CATCHING: Cell<bool> = const { Cell::new(false) };
    static LOCATION: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A panic of user code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Panicked {
    pub(crate) message: String,
    /// `file:line:column`.
    pub(crate) location: Option<String>,
}

impl Panicked {
    /// As an error of user code.
    pub(crate) fn into_error(self) -> Error {
        let at = self.location.map_or(String::new(), |at| format!(" at {at}"));
        Error::User(format!("panicked{at}: {}", self.message).into())
    }
}

/// Runs `f` and catches its panic, with its location.
pub(crate) fn catching<T>(f: impl FnOnce() -> T) -> Result<T, Panicked> {
    install();
    let was = IS_CATCHING.replace(true);
    let caught = catch_unwind(AssertUnwindSafe(f));
    IS_CATCHING.set(was);
    caught.map_err(|payload| Panicked { message: message(payload.as_ref()), location: LOCATION.take() })
}

/// Panics that nobody here catches go on to the hook that was there before.
fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
            if IS_CATCHING.get() {
                LOCATION.set(info.location().map(ToString::to_string));
            } else {
                before(info);
            }
        }));
    });
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a value that is not text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caught_panic_has_its_message_and_its_location() {
        let caught = catching(|| panic!("record {} is odd", 3)).expect_err("it panics");
        assert_eq!(caught.message, "record 3 is odd");
        assert!(caught.location.is_some_and(|at| at.contains("panics.rs:")));
    }
}
