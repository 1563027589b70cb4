//! What `ptxas -v` says of each kernel.

/// One kernel on one architecture.
pub struct Usage {
    pub kernel: String,
    pub architecture: String,
    pub registers: u32,
    /// Bytes of spill stores and loads together.
    pub spills: u32,
    /// Bytes of static shared memory.
    pub shared: u32,
}

/// Reads lines such as
///
/// ```text
/// ptxas info    : Compiling entry function 'adamw' for 'sm_80'
///     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
/// ptxas info    : Used 32 registers, used 1 barriers, 4096 bytes smem, 408 bytes cmem[0]
/// ```
pub fn parse(output: &str) -> Vec<Usage> {
    let mut found: Vec<Usage> = Vec::new();
    for line in output.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            let mut quoted = rest.split('\'');
            let (kernel, architecture) = (quoted.next().unwrap_or(""), quoted.nth(1).unwrap_or(""));
            let (kernel, architecture) = (kernel.to_string(), architecture.to_string());
            found.push(Usage { kernel, architecture, registers: 0, spills: 0, shared: 0 });
        } else if let Some(usage) = found.last_mut() {
            usage.spills += before(line, " bytes spill stores") + before(line, " bytes spill loads");
            usage.registers += before(line, " registers,");
            usage.shared += before(line, " bytes smem");
        }
    }
    found
}

/// The number in front of `unit`, 0 where the line has none.
fn before(line: &str, unit: &str) -> u32 {
    let number = line.split_once(unit).and_then(|(before, _)| before.rsplit([' ', ',']).next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}
