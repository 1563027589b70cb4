// Finds the source lines of instructions with addr2line, for messages only.
#include "runtime.h"
#include <cstdio>
#include <dlfcn.h>
#include <map>
#include <mutex>

namespace cuemu {
// "file:line" of each function that was inlined there, innermost first.
static std::vector<std::string> frames(const char *file, size_t offset) {
    char command[1200];
    snprintf(command, sizeof command, "addr2line -sie '%s' 0x%zx 2>/dev/null", file, offset);
    std::vector<std::string> lines;
    FILE *pipe = popen(command, "r");
    if (!pipe) return lines;
    char line[400];
    while (fgets(line, sizeof line, pipe)) {
        const std::string text = line;
        lines.push_back(text.substr(0, text.find_first_of(" \n")));
    }
    pclose(pipe);
    return lines;
}

// Headers of the emulator: their lines say nothing about the kernel.
static bool is_ours(const std::string &line) {
    for (const char *name :
         {"state.h:", "collectives.h:", "atomics.h:", "intrinsics.h:", "tensor.h:", "bf16.h:", "kernel.h:",
          "hopper.h:"})
        if (line.rfind(name, 0) == 0) return true;
    return false;
}

static std::string look_up(const void *pc) {
    Dl_info image;
    if (!dladdr(pc, &image) || !image.dli_fname) return "?";
    // One byte before a return address lies in the call.
    const size_t offset = reinterpret_cast<size_t>(pc) - reinterpret_cast<size_t>(image.dli_fbase);
    std::vector<std::string> lines = frames(image.dli_fname, offset - 1);
    while (lines.size() > 1 && is_ours(lines.front())) lines.erase(lines.begin());
    while (lines.size() > 1 && is_ours(lines.back())) lines.pop_back();
    if (lines.empty() || lines.front().rfind("??", 0) == 0) {
        char text[300];
        snprintf(text, sizeof text, "%s+0x%zx", image.dli_fname, offset);
        return text;
    }
    std::string chain = lines.front();
    for (size_t i = 1; i < lines.size(); i++)
        if (lines[i] != lines[i - 1]) chain += " in " + lines[i];
    return chain;
}

std::string where(const void *pc) {
    static std::mutex lock;
    static std::map<const void *, std::string> known;
    std::lock_guard<std::mutex> guard(lock);
    const auto found = known.find(pc);
    return found != known.end() ? found->second : known[pc] = look_up(pc);
}
}  // namespace cuemu
