use super::*;

const HEADER: &str = "#pragma once
constexpr int WARPS = 4, THREADS = 32 * WARPS;
constexpr float LOG2_E = 1.4f;
#define FOR_EACH_SIZE(DO) DO(32) DO(64)
#define ELEMENT(HS) HS,
constexpr int SIZES[] = {FOR_EACH_SIZE(ELEMENT)};
constexpr int twice(int n) { return 2 * n; }
";

const KERNELS: &str = "#include \"tiles.cuh\"
#include <cstdint>
constexpr int TILES[] = {THREADS / 2, 8};
// One.
//   floor      4*N bytes
extern \"C\" __global__ void one(float *y, int n) {
    constexpr int INSIDE = twice(3);
}
KERNEL_EXPORT(one);

//   floor      many: 2*HS*T bytes
#define MANY(HS)                                        \\
    extern \"C\" __global__ void many_##HS(float *y) {  \\
        many<HS>(y);                                    \\
    }                                                   \\
    KERNEL_EXPORT(many_##HS);
FOR_EACH_SIZE(MANY)
";

fn read_text(kernels: &str) -> Result<KernelFile, String> {
    let reader = |path: &Path| match path.to_str() {
        Some("k/kernels.cu") => Ok(kernels.to_string()),
        Some("k/tiles.cuh") => Ok(HEADER.to_string()),
        _ => Err(format!("cannot read {}", path.display())),
    };
    parse(Path::new("k/kernels.cu"), &reader)
}

#[test]
fn kernels_instances_and_constants_are_found() {
    let file = read_text(KERNELS).unwrap();
    let [one, many] = &file.kernels[..] else { panic!("{:?}", file.kernels) };
    assert_eq!((one.name.as_str(), one.line, &one.instances), ("one", 6, &None));
    let instances = Instances { parameter: "hs".to_string(), values: vec![32, 64] };
    assert_eq!((many.name.as_str(), many.line, many.instances.as_ref()), ("many", 13, Some(&instances)));
    assert_eq!(many.floor.names(), ["hs", "t"]);
    let [header, own] = &file.constants[..] else { panic!("{:?}", file.constants) };
    let value = |name: &str, value| (name.to_string(), Constant::Value(value));
    let list = |name: &str, values: [i64; 2]| (name.to_string(), Constant::List(values.to_vec()));
    assert_eq!(header.values, [value("WARPS", 4), value("THREADS", 128), list("SIZES", [32, 64])]);
    assert_eq!((own.stem.as_str(), &own.values[..]), ("kernels", &[list("TILES", [64, 8])][..]));
}

/// What a contributor may forget: the message names file and line and says what is expected.
#[test]
fn what_is_forgotten_is_named() {
    for (is, becomes, says) in [
        ("//   floor      4*N bytes\n", "", "k/kernels.cu:5: kernel one: expected a line `//   floor"),
        ("KERNEL_EXPORT(one);", "", "k/kernels.cu:6: kernel one: expected KERNEL_EXPORT(one); behind its body"),
        ("KERNEL_EXPORT(many_##HS);", "", "k/kernels.cu:13: kernel many_##HS: expected KERNEL_EXPORT(many_##HS);"),
        ("floor      many:", "floor      man:", "k/kernels.cu:13: kernel many: expected a line"),
        ("// One.", "//   floor      2*N bytes", "k/kernels.cu:5: kernel one has a floor already, of line 4"),
        ("THREADS / 2", "sizeof(int)", "k/kernels.cu:3: constant TILES: in `sizeof ( int )`: found `(`"),
        ("THREADS / 2", "LANES", "k/kernels.cu:3: constant TILES: `LANES` is no integer constant known here"),
        ("4*N bytes", "4*N", "k/kernels.cu:5: floor `4*N`: expected"),
        ("int n", "size_t n", "k/kernels.cu:6: parameter `size_t n` of kernel one: expected"),
        ("tiles.cuh", "tile.cuh", "cannot read k/tile.cuh"),
    ] {
        let message = read_text(&KERNELS.replacen(is, becomes, 1)).unwrap_err();
        assert!(message.starts_with(says), "{message}");
    }
    let unknown = KERNELS.to_string() + "//   floor      none: 0 bytes\n";
    assert_eq!(
        read_text(&unknown).unwrap_err(),
        "k/kernels.cu:18: floor `none: 0 bytes`: this file has no such kernel"
    );
}
