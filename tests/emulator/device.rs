//! The emulator as a device: memory limits and a device that is lost, for tests of what the engine says then.

use crate::{buffer, read};
use half::bf16;
use logwright::cuda::device::seam::{Buffer, Device};
use logwright::cuda::emulator::device::Emulator;
use logwright::cuda::ops::layernorm::{Normed, Weights, forward};
use std::sync::Arc;

#[test]
fn memory_ends_where_it_was_told_to() {
    let device: Arc<dyn Device> = Arc::new(Emulator::with_memory(0, 4096));
    let first = Buffer::<f32>::new(&device, 768).unwrap();
    assert_eq!(device.memory().unwrap(), (1024, 4096));
    let message = Buffer::<f32>::new(&device, 257).err().unwrap().to_string();
    assert_eq!(message, "out of memory on the emulator: 1028 bytes wanted, 1024 of 4096 free");
    drop(first);
    assert!(Buffer::<f32>::new(&device, 1024).is_ok());
}

#[test]
fn a_lost_device_stays_lost() {
    let device: Arc<dyn Device> = Arc::new(Emulator::lost_after(0, 2));
    let ones = vec![bf16::ONE; 64];
    let (x, weight) = (buffer(&device, &ones), buffer(&device, &ones));
    let (y, mean, rstd) = (buffer(&device, &ones), buffer(&device, &[0f32]), buffer(&device, &[0f32]));
    let run = || {
        let to = Normed { y: y.span(), mean: mean.span(), rstd: rstd.span() };
        forward(&*device, to, x.span(), &Weights { weight: weight.span(), bias: None })
    };
    run().unwrap();
    device.synchronize().unwrap();
    assert_eq!(read(&device, mean.span()), [1.0]);
    run().unwrap();
    let lost = |found: logwright::Result<()>| assert!(found.unwrap_err().to_string().contains("device is lost"));
    lost(run());
    lost(device.synchronize());
    lost(mean.span().download(&*device, &mut [0.0]));
    lost(x.span().upload(&*device, &ones));
    lost(x.span().clear(&*device));
}
