//! The emulator as a device: memory limits and a device that is lost, for tests of what the engine says then.

use half::bf16;
use logwright::cuda::device::memory::Buffer;
use logwright::cuda::device::seam::Device;
use logwright::cuda::emulator::device::Emulator;
use logwright::cuda::ops::layernorm::{Forward, NormParams, Normed};
use std::sync::Arc;

#[test]
fn memory_ends_where_it_was_told_to() {
    let device: Arc<dyn Device> = Arc::new(Emulator::with_memory(0, 4096));
    let first = Buffer::<f32>::new(device.clone(), 768).unwrap();
    assert_eq!(device.memory().unwrap(), (1024, 4096));
    let message = Buffer::<f32>::new(device.clone(), 257).err().unwrap().to_string();
    assert_eq!(message, "out of memory on the emulator: 1028 bytes wanted, 1024 of 4096 free");
    drop(first);
    assert!(Buffer::<f32>::new(device.clone(), 1024).is_ok());
}

#[test]
fn a_lost_device_stays_lost() {
    let device: Arc<dyn Device> = Arc::new(Emulator::lost_after(0, 2));
    let ones = vec![bf16::ONE; 64];
    let [x, weight, y] = [(); 3].map(|_| Buffer::new(device.clone(), 64).unwrap());
    let [mean, rstd] = [(); 2].map(|_| Buffer::new(device.clone(), 1).unwrap());
    [&x, &weight].iter().for_each(|input| input.view_mut().upload(&ones).unwrap());
    let run = || {
        let to = Normed { y: y.view_mut(), mean: mean.view_mut(), rstd: rstd.view_mut() };
        let params = NormParams { weight: weight.view(), bias: None };
        Forward { to, x: x.view(), params }.run(&*device)
    };
    run().unwrap();
    device.synchronize().unwrap();
    let mut found = [0f32];
    mean.view().download(&mut found).unwrap();
    assert_eq!(found, [1.0]);
    run().unwrap();
    let lost = |found: logwright::Result<()>| assert!(found.unwrap_err().to_string().contains("device is lost"));
    lost(run());
    lost(device.synchronize());
    lost(mean.view().download(&mut [0.0]));
    lost(x.view_mut().upload(&ones));
    lost(x.view_mut().clear());
}
