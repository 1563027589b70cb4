//! What the kernel files say, as Rust source.

use super::declaration::{Parameter, Role};
use super::expression::Expression;
use super::file::{Constant, Instances, Kernel, KernelFile};
use std::collections::BTreeSet;

/// The generated files: names and content.
pub fn generate(files: &[KernelFile]) -> [(&'static str, String); 4] {
    [
        ("kernels.rs", table(files)),
        ("kernel_constants.rs", constants(files)),
        ("kernel_floors.rs", floors(files)),
        ("emulator_entries.rs", entries(files)),
    ]
}

/// The kernel table: a struct for every kernel, whose fields are its parameters, and `ALL`.
fn table(files: &[KernelFile]) -> String {
    let mut code = String::new();
    let mut index = 0;
    for (file, kernel) in kernels(files) {
        code += &launch_struct(file, kernel, index);
        index += kernel.names().len();
    }
    code += "/// Every kernel, by file and place in it.\npub static ALL: &[Kernel] = &[\n";
    let names =
        kernels(files).flat_map(|(file, kernel)| kernel.names().into_iter().map(move |name| (file.only, kernel, name)));
    for (index, (only, kernel, name)) in names.enumerate() {
        let sizes: Vec<String> = kernel.parameters.iter().map(|parameter| parameter.bytes.to_string()).collect();
        let kinds: String = kernel.parameters.iter().map(|parameter| parameter.kind).collect();
        let sizes = sizes.join(", ");
        code += &format!(
            "    Kernel {{ index: {index}, name: {name:?}, only: {only:?}, sizes: &[{sizes}], kinds: b{kinds:?} }},\n"
        );
    }
    code + "];\n"
}

/// The emulator's entries, in the order of `ALL`.
fn entries(files: &[KernelFile]) -> String {
    let names: Vec<String> = kernels(files).flat_map(|(_, kernel)| kernel.names()).collect();
    let mut code = "unsafe extern \"C\" {\n".to_string();
    for name in &names {
        code += &format!("    static cuemu_desc_{name}: Entry;\n");
    }
    code += "}\n\n/// Every kernel's entry, in the order of the kernel table.\n";
    code += &format!("pub fn all() -> [&'static Entry; {}] {{\n", names.len());
    code += "    // SAFETY: KERNEL_EXPORT defines each as a constant with the layout of `Entry`.\n    unsafe {\n        [\n";
    for name in &names {
        code += &format!("            &cuemu_desc_{name},\n");
    }
    code + "        ]\n    }\n}\n"
}

fn kernels(files: &[KernelFile]) -> impl Iterator<Item = (&KernelFile, &Kernel)> {
    files.iter().flat_map(|file| file.kernels.iter().map(move |kernel| (file, kernel)))
}

impl Kernel {
    /// The names of the compiled kernels.
    fn names(&self) -> Vec<String> {
        match &self.instances {
            None => vec![self.name.clone()],
            Some(Instances { values, .. }) => values.iter().map(|value| format!("{}_{value}", self.name)).collect(),
        }
    }

    /// `a_kernel` -> `AKernel`.
    fn type_name(&self) -> String {
        let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
        self.name.split('_').filter(|word| !word.is_empty()).map(capital).collect()
    }
}

fn launch_struct(file: &KernelFile, kernel: &Kernel, index: usize) -> String {
    let (name, line, stem) = (kernel.type_name(), kernel.line, &file.stem);
    let mut code = format!("/// The arguments of `{}`: `kernels/{stem}.cu`, line {line}.\n", kernel.name);
    code += &format!("#[derive(Clone, Copy)]\npub struct {name}<'a> {{\n");
    for parameter in &kernel.parameters {
        code += &format!("    pub {}: {},\n", parameter.name, field_type(parameter));
    }
    code += &format!("}}\n\nimpl {name}<'_> {{\n");
    let (more, place) = match &kernel.instances {
        None => (String::new(), index.to_string()),
        Some(Instances { parameter, values }) => {
            let numbered = values.iter().zip(index..).map(|(value, index)| format!("({value}, {index})"));
            let list = numbered.collect::<Vec<_>>().join(", ");
            code +=
                &format!("    /// {} of each compiled kernel, and its place in [`ALL`].\n", parameter.to_uppercase());
            code += &format!("    const INSTANCES: [(usize, usize); {}] = [{list}];\n\n", values.len());
            (format!(", {parameter}: usize"), String::new())
        }
    };
    let kernel_value = match place.is_empty() {
        false => format!("&ALL[{place}]"),
        true => format!("instance(&Self::INSTANCES, {})", more.trim_start_matches(", ").trim_end_matches(": usize")),
    };
    code += "    /// Queues the kernel on the device's stream.\n    ///\n    /// # Safety\n";
    code += "    /// No index that the kernel forms from these arguments leaves its buffers.\n";
    code += &format!("    pub unsafe fn launch(self, device: &dyn Device{more}, launch: Launch) -> Result<()> {{\n");
    code += "        let arguments = [\n";
    for parameter in &kernel.parameters {
        code += &format!("            {},\n", argument(parameter));
    }
    code += "        ];\n        // SAFETY: the list has the kernel's types; indices are the caller's promise.\n";
    code + &format!("        unsafe {{ device.launch({kernel_value}, launch, &arguments) }}\n    }}\n}}\n\n")
}

/// A `const T *` is a view, a `T *` a mutable one; a nullable one may be absent. Maps of tensors are told apart likewise.
fn field_type(parameter: &Parameter) -> String {
    let rust = parameter.rust;
    let field = match parameter.role {
        Role::Input => format!("View<'a, {rust}>"),
        Role::Output => format!("ViewMut<'a, {rust}>"),
        Role::InputMap => return "TensorMap<'a>".to_string(),
        Role::OutputMap => return "TensorMapMut<'a>".to_string(),
        Role::Scalar => return rust.to_string(),
    };
    if parameter.nullable { format!("Option<{field}>") } else { field }
}

fn argument(parameter: &Parameter) -> String {
    let name = &parameter.name;
    match (parameter.role, parameter.nullable) {
        (Role::Scalar, _) => format!("Argument::value(self.{name})"),
        (Role::InputMap | Role::OutputMap, _) => format!("Argument::Map(self.{name}.layout())"),
        (_, false) => format!("Argument::value(self.{name}.address())"),
        (_, true) => format!("Argument::value(self.{name}.map_or(0, |view| view.address()))"),
    }
}

/// One module for each source file with constants.
fn constants(files: &[KernelFile]) -> String {
    let (mut code, mut done) = (String::new(), BTreeSet::new());
    for constants in files.iter().flat_map(|file| &file.constants) {
        if constants.values.is_empty() || !done.insert(&constants.stem) {
            continue;
        }
        code += &format!("pub mod {} {{\n", constants.stem);
        for (name, constant) in &constants.values {
            code += &match constant {
                Constant::Value(value) => format!("    pub const {name}: usize = {value};\n"),
                Constant::List(values) => {
                    format!("    pub const {name}: [usize; {}] = {values:?};\n", values.len())
                }
            };
        }
        code += "}\n";
    }
    code
}

/// A struct for every kernel, whose fields are the sizes in which its head states the floor.
fn floors(files: &[KernelFile]) -> String {
    let mut code = String::new();
    for (file, kernel) in kernels(files) {
        let (name, floor) = (kernel.type_name(), &kernel.floor);
        let mut sizes = floor.names();
        let instance = kernel.instances.as_ref().map(|instances| instances.parameter.clone());
        sizes.extend(instance.clone().filter(|instance| !floor.names().contains(instance)));
        code += &format!("/// `kernels/{}.cu`, line {}: `{}`.\n", file.stem, floor.line, floor.text);
        code += &format!("#[derive(Clone, Copy, Debug)]\npub struct {name} {{\n");
        sizes.iter().for_each(|size| code += &format!("    pub {size}: usize,\n"));
        code += &format!("}}\n\nimpl Floor for {name} {{\n    fn kernel(&self) -> String {{\n");
        code += &match instance {
            None => format!("        {:?}.to_string()\n", kernel.name),
            Some(instance) => format!("        format!(\"{}_{{}}\", self.{instance})\n", kernel.name),
        };
        code += "    }\n\n";
        for (method, value) in [("bytes", &floor.bytes), ("flops", &floor.flops)] {
            let value = value.as_ref().map_or("0.0".to_string(), Expression::rust);
            code += &format!("    fn {method}(&self) -> f64 {{\n        {value}\n    }}\n\n");
        }
        code += "}\n\n";
    }
    code
}

#[cfg(test)]
mod tests {
    use super::super::file::parse;
    use super::*;
    use std::path::Path;

    const KERNELS: &str = "constexpr int SIZE = 8, SIZES[] = {1, 2};
//   floor      (2 + 2*ADDED)*N bytes, 2*N FLOPs; once
extern \"C\" __global__ void a_kernel(bf16 *y, const float *__restrict__ NULLABLE x, int n) {}
KERNEL_EXPORT(a_kernel);
#define FOR_EACH(DO) DO(32) DO(64)
//   floor      0 bytes
#define B(HS) extern \"C\" __global__ void b_##HS(float *y) {} KERNEL_EXPORT(b_##HS);
FOR_EACH(B)
";

    fn files() -> Vec<KernelFile> {
        vec![parse(Path::new("k.cu"), &|_| Ok(KERNELS.to_string())).unwrap()]
    }

    #[test]
    fn the_table_has_fields_arguments_constants_and_floors() {
        let code: String = generate(&files()).map(|(_, code)| code).concat();
        for part in [
            "pub struct AKernel<'a> {\n    pub y: ViewMut<'a, bf16>,\n    pub x: Option<View<'a, f32>>,\n    pub n: i32,\n}",
            "Argument::value(self.x.map_or(0, |view| view.address())),",
            "device.launch(&ALL[0], launch, &arguments)",
            "INSTANCES: [(usize, usize); 2] = [(32, 1), (64, 2)];",
            "device.launch(instance(&Self::INSTANCES, hs), launch, &arguments)",
            "Kernel { index: 0, name: \"a_kernel\", only: None, sizes: &[8, 8, 4], kinds: b\"BFi\" },",
            "Kernel { index: 2, name: \"b_64\", only: None, sizes: &[8], kinds: b\"F\" },",
            "pub mod k {\n    pub const SIZE: usize = 8;\n    pub const SIZES: [usize; 2] = [1, 2];\n}",
            "pub struct AKernel {\n    pub added: usize,\n    pub n: usize,\n}",
            "(2.0 + (2.0 * (self.added as f64))) * (self.n as f64)",
            "format!(\"b_{}\", self.hs)",
        ] {
            assert!(code.contains(part), "{part}\nis missing in\n{code}");
        }
    }

    #[test]
    fn a_file_for_one_kind_of_cards_says_so_in_its_head() {
        const BOXES: &str = "//   card       sm_90a alone
//   floor      0 bytes
extern \"C\" __global__ void boxes(LOAD_MAP from, STORE_MAP to) {}
KERNEL_EXPORT(boxes);
";
        let code = table(&[parse(Path::new("k.cu"), &|_| Ok(BOXES.to_string())).unwrap()]);
        for part in [
            "pub from: TensorMap<'a>,\n    pub to: TensorMapMut<'a>,",
            "Argument::Map(self.from.layout()),",
            "name: \"boxes\", only: Some((9, 0)), sizes: &[128, 128], kinds: b\"mm\" },",
        ] {
            assert!(code.contains(part), "{part}\nis missing in\n{code}");
        }
        let other = BOXES.replace("90a", "100a");
        let message = parse(Path::new("k.cu"), &|_| Ok(other.clone())).unwrap_err();
        assert!(message.contains("k.cu:1: card `sm_100a alone`: expected `sm_90a alone`"), "{message}");
    }

    #[test]
    fn the_emulator_has_an_entry_for_every_instance() {
        let code = entries(&files());
        for part in ["static cuemu_desc_a_kernel: Entry;", "&cuemu_desc_b_64,", "[&'static Entry; 3]"] {
            assert!(code.contains(part), "{part}\nis missing in\n{code}");
        }
    }
}
