//! Shared libraries that are loaded while the program runs, so that it starts on machines that lack them.

use crate::{Error, Result};
use libloading::os::unix;
use std::ffi::{CStr, CString, c_char, c_void};
use std::mem::ManuallyDrop;

/// A loaded library.
///
/// Never closed: NVIDIA's libraries leave state and threads behind that must not outlive their code.
pub struct Library {
    library: ManuallyDrop<unix::Library>,
    /// The file it was loaded from.
    pub path: String,
}

impl Library {
    /// The first of `names` (file names, or paths) that loads; else every loader's complaint.
    pub fn open<S: AsRef<str>>(names: &[S]) -> std::result::Result<Self, String> {
        let mut complaints = Vec::new();
        for name in names.iter().map(|name| name.as_ref()) {
            // SAFETY: NVIDIA's libraries run no code on loading beyond their own set-up.
            match unsafe { unix::Library::new(name) } {
                Ok(library) => {
                    let handle = library.into_raw();
                    let path = path(handle).unwrap_or_else(|| name.to_string());
                    // SAFETY: the handle is the library's own, whose close `into_raw` left to this one.
                    let library = ManuallyDrop::new(unsafe { unix::Library::from_raw(handle) });
                    return Ok(Library { library, path });
                }
                Err(error) => complaints.push(complaint(name, &error)),
            }
        }
        Err(complaints.join(", "))
    }

    /// # Safety
    /// `T` is the type of the function of this name.
    pub unsafe fn function<T: Copy>(&self, name: &str) -> Result<T> {
        // SAFETY: the caller's promise.
        let found = unsafe { self.library.get::<T>(name) };
        found.map(|function| *function).map_err(|_| {
            Error::failed(format!("{} has no function {name}: it is too old for this program; update it", self.path))
        })
    }
}

/// A library that is missing, the most common case, gets a short message.
fn complaint(name: &str, error: &dyn std::error::Error) -> String {
    let words = error.source().map_or_else(|| error.to_string(), |source| source.to_string());
    if words.contains("No such file") { format!("{name} not found") } else { words }
}

/// The path of the file that the loader found for a library.
fn path(handle: *mut c_void) -> Option<String> {
    let mut map: *const LinkMap = std::ptr::null();
    // SAFETY: RTLD_DI_LINKMAP writes one pointer, to an entry that lives as long as the library, with a C string in it.
    let name = unsafe {
        let failed = libc::dlinfo(handle, libc::RTLD_DI_LINKMAP, (&raw mut map).cast());
        (failed == 0 && !map.is_null()).then(|| CStr::from_ptr((*map).name).to_string_lossy().into_owned())
    };
    name.filter(|name| !name.is_empty())
}

/// The beginning of the loader's `struct link_map`.
#[repr(C)]
struct LinkMap {
    address: usize,
    name: *const c_char,
}

/// A table of a library's functions, looked up all at once: a missing one is an error then and not a crash later. The
/// types are compared with the bindings' (`sys`) when this compiles. Results are plain numbers, since newer libraries
/// return codes that the bindings' enums do not know.
macro_rules! functions {
    ($(#[$doc:meta])* $table:ident -> $status:ty; $($name:ident($($argument:ty),*);)*) => {
        $(#[$doc])*
        #[allow(non_snake_case, reason = "the names of the C functions")]
        pub struct $table { $(pub $name: unsafe extern "C" fn($($argument),*) -> u32),* }

        impl $table {
            pub fn load(library: &$crate::cuda::gpu::library::Library) -> $crate::Result<Self> {
                // SAFETY: the bindings, generated from the library's headers, give the functions these types.
                unsafe { Ok($table { $($name: library.function(stringify!($name))?),* }) }
            }
        }

        const _: () = { $(let _: unsafe fn($($argument),*) -> $status = sys::$name;)* };
    };
}
pub(super) use functions;

/// Named ranges on a profiler's time line; None where NVTX is not installed.
pub struct Ranges {
    push: unsafe extern "C" fn(*const c_char) -> i32,
    pop: unsafe extern "C" fn() -> i32,
    pub path: String,
    _library: Library,
}

impl Ranges {
    pub fn load() -> Option<Self> {
        let library = Library::open(&["libnvToolsExt.so.1", "libnvtx3interop.so.1", "libnvToolsExt.so"]).ok()?;
        // SAFETY: these are the types of NVTX's C interface, versions 2 and 3.
        unsafe {
            let (push, pop) = (library.function("nvtxRangePushA").ok()?, library.function("nvtxRangePop").ok()?);
            Some(Ranges { push, pop, path: library.path.clone(), _library: library })
        }
    }

    pub fn push(&self, name: &str) {
        let name = CString::new(name).unwrap_or_default();
        // SAFETY: NVTX copies the string.
        unsafe { (self.push)(name.as_ptr()) };
    }

    pub fn pop(&self) {
        // SAFETY: takes nothing; a pop too many is an error code.
        unsafe { (self.pop)() };
    }
}
