//! THE kernel table: every kernel's name and arguments, once. From it derive the typed launch functions, the names that are
//! looked up in the fatbin, and the comparison with the C++ signatures (a kernel that `kernels/*.cu` lacks is a link error
//! of the emulator build).

use super::device::{Device, Launch, Ptr};
use crate::Result;
use half::bf16;
use std::ffi::c_void;

/// One kernel of the table.
#[derive(Debug)]
pub struct Kernel {
    /// Place in [`ALL`].
    pub index: usize,
    /// Its name in the fatbin.
    pub name: &'static str,
    /// Bytes of each argument.
    pub sizes: &'static [u8],
    /// Kind of each argument (see [`Argument`]).
    pub kinds: &'static [u8],
}

/// What may be passed to a kernel. KIND is the letter that the emulator derives from the C++ signature: capitals for
/// pointers, by what they point to.
pub trait Argument: Copy {
    const KIND: u8;
}

macro_rules! arguments {
    ($($type:ty = $kind:literal),*) => { $(impl Argument for $type { const KIND: u8 = $kind; })* };
}
arguments!(Ptr<bf16> = b'B', Ptr<f32> = b'F', Ptr<f64> = b'D', Ptr<u32> = b'U', i32 = b'i', i64 = b'l', f32 = b'f');

macro_rules! kernels {
    ($($name:ident($($argument:ident: $type:ty),* $(,)?);)*) => {
        #[allow(non_camel_case_types)]
        enum Index { $($name),* }

        /// Every kernel, in the order of the table.
        pub static ALL: &[Kernel] = &[$(Kernel {
            index: Index::$name as usize,
            name: stringify!($name),
            sizes: &[$(size_of::<$type>() as u8),*],
            kinds: &[$(<$type as Argument>::KIND),*],
        }),*];

        $(
            /// Queues the kernel of this name.
            ///
            /// # Safety
            /// No index that the kernel forms from these arguments leaves its buffers.
            #[allow(clippy::too_many_arguments)]
            pub unsafe fn $name(device: &dyn Device, launch: Launch, $(mut $argument: $type),*) -> Result<()> {
                let mut arguments = [$((&raw mut $argument).cast::<c_void>()),*];
                // SAFETY: the list has the table's types; indices are the caller's promise.
                unsafe { device.launch(&ALL[Index::$name as usize], launch, &mut arguments) }
            }
        )*

        #[cfg(feature = "emulator")]
        pub(super) mod entries {
            use crate::cuda::emulator::Entry;
            unsafe extern "C" {
                $(#[link_name = concat!("cuemu_desc_", stringify!($name))] static $name: Entry;)*
            }

            /// The emulator's entries, in the order of the table.
            pub fn all() -> [&'static Entry; super::ALL.len()] {
                // SAFETY: KERNEL_EXPORT defines each as a constant with the layout of `Entry`.
                unsafe { [$(&*(&raw const $name)),*] }
            }
        }
    };
}

kernels! {
    layernorm_forward(y: Ptr<bf16>, mean: Ptr<f32>, rstd: Ptr<f32>, x: Ptr<bf16>, gain: Ptr<bf16>, shift: Ptr<bf16>,
        n: i32, c: i32);
    residual_layernorm_forward(sum: Ptr<bf16>, y: Ptr<bf16>, mean: Ptr<f32>, rstd: Ptr<f32>, x: Ptr<bf16>,
        branch: Ptr<bf16>, gain: Ptr<bf16>, shift: Ptr<bf16>, n: i32, c: i32);
    // decode.cu
    decode_append(keys: Ptr<bf16>, values: Ptr<bf16>, qkv: Ptr<bf16>, slot: Ptr<u32>, position: Ptr<u32>, slots: i32,
        context: i32, heads: i32, head_size: i32);
    decode_attend(partial: Ptr<f32>, statistic: Ptr<f32>, qkv: Ptr<bf16>, keys: Ptr<bf16>, values: Ptr<bf16>,
        slot: Ptr<u32>, position: Ptr<u32>, slots: i32, context: i32, heads: i32, head_size: i32, scale: f32);
    decode_combine(out: Ptr<bf16>, partial: Ptr<f32>, statistic: Ptr<f32>, slot: Ptr<u32>, position: Ptr<u32>,
        slots: i32, context: i32, heads: i32, head_size: i32);
    decode_gather(to: Ptr<bf16>, from: Ptr<bf16>, row: Ptr<u32>, n: i32, c: i32);
    // sampling.cu
    sampling_draw(token: Ptr<u32>, logits: Ptr<bf16>, draw: Ptr<u32>, allowed: Ptr<u32>, mask_stride: i32, vocab: i32,
        stride: i32);
}

/// A size as kernels take it.
pub fn int(n: usize) -> i32 {
    i32::try_from(n).expect("sizes passed to kernels fit 31 bits")
}
