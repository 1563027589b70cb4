//! A GPU's primary context, the one stream that all work goes through, and events in it.

use super::driver::Driver;
use crate::Result;
use cudarc::driver::sys::{CUcontext, CUdevice, CUevent, CUevent_flags, CUstream};
use std::fmt::Display;
use std::ptr::null_mut;
use std::sync::Arc;

/// Not synchronised with the default stream, which therefore does not disturb a recording.
const NON_BLOCKING: u32 = 1;

pub struct Stream {
    pub driver: &'static Driver,
    device: CUdevice,
    context: CUcontext,
    pub handle: CUstream,
}

// SAFETY: the driver's handles may be used from any thread; every use makes the context current first.
unsafe impl Send for Stream {}
// SAFETY: as above; the driver locks.
unsafe impl Sync for Stream {}

impl Stream {
    pub fn new(driver: &'static Driver, ordinal: usize) -> Result<Arc<Self>> {
        let mut stream = Stream { driver, device: 0, context: null_mut(), handle: null_mut() };
        let doing = format!("starting GPU {ordinal}");
        // SAFETY: the handles are written before they are used.
        unsafe {
            driver.check((driver.call.cuDeviceGet)(&mut stream.device, ordinal as i32), &doing)?;
            driver.check((driver.call.cuDevicePrimaryCtxRetain)(&mut stream.context, stream.device), &doing)?;
            stream.bind()?;
            let made = (driver.call.cuStreamCreate)(&mut stream.handle, NON_BLOCKING);
            stream.check(made, "making a stream")?;
        }
        Ok(Arc::new(stream))
    }

    /// Makes the context current to this thread: before every call that needs one.
    pub fn bind(&self) -> Result<()> {
        // SAFETY: the context is retained as long as this lives.
        self.check(unsafe { (self.driver.call.cuCtxSetCurrent)(self.context) }, "choosing the GPU")
    }

    pub fn check(&self, code: u32, doing: impl Display) -> Result<()> {
        self.driver.check(code, format_args!("GPU {}: {doing}", self.device))
    }

    /// Waits for all queued work; what went wrong in it comes out here.
    pub fn synchronize(&self) -> Result<()> {
        self.bind()?;
        // SAFETY: the stream is this one's own.
        self.check(unsafe { (self.driver.call.cuStreamSynchronize)(self.handle) }, "running the queued work")
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: nothing that uses the stream or the context outlives this: it would hold an Arc. A stream that was
        // never made is null, which is an error code.
        unsafe {
            (self.driver.call.cuCtxSetCurrent)(self.context);
            if !self.handle.is_null() {
                (self.driver.call.cuStreamDestroy_v2)(self.handle);
            }
            if !self.context.is_null() {
                (self.driver.call.cuDevicePrimaryCtxRelease_v2)(self.device);
            }
        }
    }
}

/// A point in the stream.
pub struct Event {
    stream: Arc<Stream>,
    event: CUevent,
}

// SAFETY: as for Stream.
unsafe impl Send for Event {}

impl Event {
    pub fn new(stream: &Arc<Stream>) -> Result<Self> {
        stream.bind()?;
        let (mut event, flags) = (null_mut(), CUevent_flags::CU_EVENT_DISABLE_TIMING as u32);
        // SAFETY: writes one handle.
        stream.check(unsafe { (stream.driver.call.cuEventCreate)(&mut event, flags) }, "making an event")?;
        Ok(Event { stream: stream.clone(), event })
    }

    pub fn record(&self) -> Result<()> {
        let call = self.stream.driver.call.cuEventRecord;
        // SAFETY: event and stream belong to the same context, which the caller's operation made current.
        self.stream.check(unsafe { call(self.event, self.stream.handle) }, "recording an event")
    }

    /// Waits until the stream has passed the point of the last `record`; at once if there was none.
    pub fn wait(&self) -> Result<()> {
        // SAFETY: the event is this one's own.
        self.stream
            .check(unsafe { (self.stream.driver.call.cuEventSynchronize)(self.event) }, "running the queued work")
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: the event is this one's own; the driver keeps it until the stream has passed it.
        unsafe { (self.stream.driver.call.cuEventDestroy_v2)(self.event) };
    }
}
