//! THE kernel table: every kernel's name and arguments, once. From it derive the typed launch functions, the names that are
//! looked up in the fatbin, and the comparison with the C++ signatures (a kernel that `kernels/*.cu` lacks is a link error
//! of the emulator build).

use super::kernel::{Argument, Kernel, Launch};
use super::memory::Ptr;
use super::seam::Device;
use crate::Result;
use half::bf16;
use std::ffi::c_void;

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
        pub(in crate::cuda) mod entries {
            use crate::cuda::emulator::runtime::Entry;
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
    // layernorm.cu
    layernorm_forward(y: Ptr<bf16>, mean: Ptr<f32>, rstd: Ptr<f32>, x: Ptr<bf16>, weight: Ptr<bf16>, bias: Ptr<bf16>,
        n: i32, c: i32);
    residual_layernorm_forward(sum: Ptr<bf16>, y: Ptr<bf16>, mean: Ptr<f32>, rstd: Ptr<f32>, x: Ptr<bf16>,
        sublayer_out: Ptr<bf16>, weight: Ptr<bf16>, bias: Ptr<bf16>, n: i32, c: i32);
    layernorm_backward(dx: Ptr<bf16>, weight_partials: Ptr<f32>, bias_partials: Ptr<f32>, dy: Ptr<bf16>, x: Ptr<bf16>,
        mean: Ptr<f32>, rstd: Ptr<f32>, weight: Ptr<bf16>, width: i32, dx_is_new: i32, n: i32, c: i32);

    // bias.cu
    bias_backward(partials: Ptr<f32>, dy: Ptr<bf16>, n: i32, c: i32);
    add_partials(sums: Ptr<f32>, more: Ptr<f32>, partials: Ptr<f32>, count: i32, c: i32);

    // embedding.cu
    embedding_forward(y: Ptr<bf16>, tokens: Ptr<u32>, positions: Ptr<u32>, token_table: Ptr<bf16>,
        position_table: Ptr<bf16>, vocab: i32, context: i32, items: i32, c: i32);
    embedding_backward_tokens(dtable: Ptr<f32>, dy: Ptr<bf16>, order: Ptr<u32>, starts: Ptr<u32>, width: i32, n: i32,
        c: i32);
    embedding_backward_positions(dtable: Ptr<f32>, dy: Ptr<bf16>, batch: i32, items: i32);

    // gelu.cu
    gelu_forward(y: Ptr<bf16>, x: Ptr<bf16>, items: i32);
    gelu_backward(d: Ptr<bf16>, x: Ptr<bf16>, items: i32);

    // cross_entropy.cu
    cross_entropy_small_vocab(losses: Ptr<f32>, logits: Ptr<bf16>, targets: Ptr<u32>, scale: Ptr<f32>, n: i32, vocab: i32,
        stride: i32);
    cross_entropy_large_vocab(losses: Ptr<f32>, logits: Ptr<bf16>, targets: Ptr<u32>, scale: Ptr<f32>, n: i32, vocab: i32,
        stride: i32);
    cross_entropy_add_losses(total: Ptr<f64>, losses: Ptr<f32>, scale: Ptr<f32>, n: i32);

    // adamw.cu
    adamw_norm_partials(partials: Ptr<f64>, gradients: Ptr<f32>, quads: i64);
    adamw_decide(decision: Ptr<f32>, report: Ptr<f64>, partials: Ptr<f64>, loss: Ptr<f64>, settings: Ptr<f32>);
    adamw_update(parameters: Ptr<f32>, params_bf16: Ptr<bf16>, gradients: Ptr<f32>, first: Ptr<f32>, second: Ptr<f32>,
        settings: Ptr<f32>, decision: Ptr<f32>, decayed: i64, quads: i64);
    adamw_cast_bf16(params_bf16: Ptr<bf16>, parameters: Ptr<f32>, quads: i64);

    // attention_forward.cu
    attention_forward_32(out: Ptr<bf16>, lse: Ptr<f32>, qkv: Ptr<bf16>, t: i32, nh: i32, scale: f32);
    attention_forward_64(out: Ptr<bf16>, lse: Ptr<f32>, qkv: Ptr<bf16>, t: i32, nh: i32, scale: f32);
    attention_forward_128(out: Ptr<bf16>, lse: Ptr<f32>, qkv: Ptr<bf16>, t: i32, nh: i32, scale: f32);

    // attention_backward.cu
    attention_backward_rows_32(rows: Ptr<f32>, dout: Ptr<bf16>, out: Ptr<bf16>, lse: Ptr<f32>, t: i32, nh: i32);
    attention_backward_rows_64(rows: Ptr<f32>, dout: Ptr<bf16>, out: Ptr<bf16>, lse: Ptr<f32>, t: i32, nh: i32);
    attention_backward_rows_128(rows: Ptr<f32>, dout: Ptr<bf16>, out: Ptr<bf16>, lse: Ptr<f32>, t: i32, nh: i32);
    attention_backward_keys_32(dqkv: Ptr<bf16>, rows: Ptr<f32>, dout: Ptr<bf16>, qkv: Ptr<bf16>, t: i32, nh: i32,
        scale: f32);
    attention_backward_keys_64(dqkv: Ptr<bf16>, rows: Ptr<f32>, dout: Ptr<bf16>, qkv: Ptr<bf16>, t: i32, nh: i32,
        scale: f32);
    attention_backward_keys_128(dqkv: Ptr<bf16>, rows: Ptr<f32>, dout: Ptr<bf16>, qkv: Ptr<bf16>, t: i32, nh: i32,
        scale: f32);
    attention_backward_queries_32(dqkv: Ptr<bf16>, rows: Ptr<f32>, dout: Ptr<bf16>, qkv: Ptr<bf16>, t: i32, nh: i32,
        scale: f32);
    attention_backward_queries_64(dqkv: Ptr<bf16>, rows: Ptr<f32>, dout: Ptr<bf16>, qkv: Ptr<bf16>, t: i32, nh: i32,
        scale: f32);
    attention_backward_queries_128(dqkv: Ptr<bf16>, rows: Ptr<f32>, dout: Ptr<bf16>, qkv: Ptr<bf16>, t: i32, nh: i32,
        scale: f32);

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
