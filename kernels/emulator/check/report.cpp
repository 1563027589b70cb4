// Turns the findings of a launch into words.
#include "shadow.h"
#include <cstdio>
#include <dlfcn.h>
#include <set>

namespace cuemu {
namespace check {
constexpr size_t MOST = 20;
static std::string kernel;
static std::vector<std::string> findings;
static std::set<std::pair<std::string, const void *>> seen;
static size_t total = 0;

static const char *program() {
    static const char *const base = [] {
        Dl_info image;
        return dladdr(reinterpret_cast<void *>(report), &image) ? static_cast<const char *>(image.dli_fbase) : nullptr;
    }();
    return base;
}

uint32_t offset_in_program(const void *pc) {
    return pc ? static_cast<uint32_t>(static_cast<const char *>(pc) - program()) : 0;
}

static std::string at(const void *pc) { return pc ? " at " + where(pc) : ""; }

static std::string describe(const char *kind, const Incident &incident, const std::string &more, const Other &other) {
    const uint3 block = current->block->index;
    static const char *const WORDS[] = {"read",      "write",      "atomic", "cp.async", "cp.async",
                                        "bulk load", "bulk store", "wgmma"};
    char what[200], who[100];
    snprintf(what, sizeof what, "%s: %zu-byte %s of %p", kind, incident.bytes, WORDS[static_cast<int>(incident.access)],
             incident.at);
    snprintf(who, sizeof who, " by thread %d of block (%u,%u,%u)", current->linear, block.x, block.y, block.z);
    std::string text = what + at(incident.pc) + who;
    if (other.what) {
        const bool here = other.when.block() == now(current->linear).block();
        const Agent *agent = agent_of(other.when);
        text += std::string(" with a ") + other.what + (other.pc ? at(program() + other.pc) : "") + " by " +
                (agent ? agent->name : "thread " + std::to_string(other.when.party())) + " of " +
                (here ? "the same block" : "another block");
    }
    return text + more;
}

std::string phases_seen(Epoch of) {
    const Agent *agent = agent_of(of);
    if (!agent || !agent->counts_phases) return "";
    return "; the thread has seen the end of " + std::to_string(seen_of(of.party(), current->linear)) +
           " phases there: it waited for the wrong parity, or not at all, or the stage was released too early";
}

void report(const char *kind, const Incident &incident, const std::string &more, const Other &other) {
    total++;
    if (findings.size() < MOST && seen.insert({kind, incident.pc}).second)
        findings.push_back(describe(kind, incident, more, other));
}

void fatal(const char *kind, const Incident &incident, const std::string &more) {
    fail("%s", describe(kind, incident, more, {}).c_str());
}

void begin(const char *name) {
    kernel = name;
    findings.clear();
    seen.clear();
    total = 0;
    clocks_begin_launch();
}

std::string finish() {
    std::string text;
    for (const std::string &finding : findings) text += (text.empty() ? "kernel " + kernel + ": " : "\n    ") + finding;
    if (total > findings.size()) text += "\n    (" + std::to_string(total) + " findings in all)";
    return text;
}
}  // namespace check
}  // namespace cuemu
