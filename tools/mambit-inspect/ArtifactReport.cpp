//===- ArtifactReport.cpp - an artifact as JSON ------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "tools/mambit-inspect/ArtifactReport.h"

#include "runtime/Error.h"
#include "runtime/artifact/Format.h"
#include "runtime/artifact/TemporaryFile.h"
#include "tools/mambit-inspect/Disassembler.h"
#include "tools/mambit-inspect/MemoryPlan.h"

#include <algorithm>
#include <cstring>
#include <filesystem>

using namespace mambit;
using namespace mambit::tools;
using namespace mambit::artifact;

static std::string hexadecimal(uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof(text), "%016jx", uintmax_t(value));
  return text;
}

static std::string layoutText(const LayoutT *layout) {
  if (!layout || layout->kind == LayoutKind::row_major)
    return "row_major";
  return std::string(EnumNameLayoutKind(layout->kind)) + "<" +
         std::to_string(layout->rows) + ">";
}

namespace {

class Describer {
public:
  explicit Describer(const Artifact &artifact)
      : artifact(artifact), index(artifact.index().UnPack()) {}

  Json describe() const;

private:
  Json config() const;
  Json weight(size_t number) const;
  Json device(const DeviceT &device) const;
  Json kernel(const DeviceT &device, size_t number) const;
  Json target(const TargetT &target) const;
  Json program(const DeviceT &device, const ProgramT &program) const;
  Json command(const DeviceT &device, const CommandT &command) const;

  /// Of a list of zeros: the last of the tiles' starts.
  uint64_t zeroCount(size_t weight) const;

  const Artifact &artifact;
  std::unique_ptr<IndexT> index;
};

} // namespace

Json Describer::describe() const {
  Json inputs = Json::array(), sections = Json::array();
  Json weights = Json::array(), devices = Json::array();
  for (const auto &input : index->inputs)
    inputs.push_back(
        {{"file", input->file}, {"size", input->size}, {"hash", input->hash}});
  for (const auto &section : index->sections)
    sections.push_back({{"name", section->name},
                        {"offset", section->offset},
                        {"size", section->size},
                        {"checksum", hexadecimal(section->checksum)}});
  uint64_t zeros = 0, weightBytes = 0;
  for (size_t i = 0; i < index->weights.size(); ++i) {
    weights.push_back(weight(i));
    zeros += zeroCount(i);
    weightBytes += artifact.weight(i).size;
  }
  for (const auto &entry : index->devices)
    devices.push_back(device(*entry));

  Json tokenizer;
  if (index->tokenizer)
    tokenizer = {{"kind", index->tokenizer->kind},
                 {"size", artifact.section(index->tokenizer->section).size}};
  return {
      {"kind", "artifact"},
      {"path", artifact.path()},
      {"format_version", std::to_string(kMajorVersion) + "." +
                             std::to_string(artifact.minorVersion())},
      {"size", artifact.fileSize()},
      {"skeleton", artifact.isSkeleton()},
      {"producer", index->producer},
      {"flags", index->flags},
      {"required_features", index->required_features},
      {"inputs", inputs},
      {"config", config()},
      {"tokenizer", tokenizer},
      {"exact_zeros", zeros},
      {"weight_bytes", weightBytes},
      {"weights", weights},
      {"devices", devices},
      {"sections", sections},
  };
}

Json Describer::config() const {
  if (!index->config)
    return nullptr;
  const ModelConfigT &config = *index->config;
  return {
      {"format", config.format},
      {"d_model", config.d_model},
      {"layers", config.layers},
      {"vocab", config.vocab},
      {"heads", config.heads},
      {"headdim", config.headdim},
      {"groups", config.groups},
      {"d_state", config.d_state},
      {"d_conv", config.d_conv},
      {"tied", config.tied},
      {"activation_bits", config.activation_bits},
      {"state_dtype", config.state_dtype.empty() ? "f32" : config.state_dtype},
      {"parameters", config.parameters},
      {"binary_parameters", config.binary_parameters},
      {"norm_eps", config.norm_eps},
      {"dt_limit", {config.dt_min, config.dt_max}},
  };
}

uint64_t Describer::zeroCount(size_t number) const {
  const WeightT &weight = *index->weights[number];
  Bytes bytes = artifact.weight(number);
  if (!weight.layout || weight.layout->kind != LayoutKind::zeros ||
      bytes.size == 0)
    return 0;
  uint64_t rows = weight.layout->rows;
  uint64_t tiles = (weight.shape[0] + rows - 1) / rows;
  int32_t count;
  std::memcpy(&count, bytes.data + tiles * sizeof(count), sizeof(count));
  return count;
}

Json Describer::weight(size_t number) const {
  const WeightT &weight = *index->weights[number];
  Json sources = Json::array(), steps = Json::array();
  for (const auto &source : weight.sources)
    sources.push_back({{"file", source->file},
                       {"key", source->key},
                       {"dtype", EnumNameDType(source->dtype)},
                       {"shape", source->shape}});
  for (const auto &step : weight.steps) {
    std::string text = EnumNameStepKind(step->kind);
    if (step->kind == StepKind::multiply)
      text += "<" + std::to_string(step->source) + ">";
    else if (step->kind == StepKind::cast)
      text += std::string("<") + EnumNameDType(step->dtype) + ">";
    steps.push_back(text);
  }
  Json result = {
      {"name", weight.name},   {"dtype", EnumNameDType(weight.dtype)},
      {"shape", weight.shape}, {"layout", layoutText(weight.layout.get())},
      {"sources", sources},    {"steps", steps},
  };
  if (weight.section >= 0) {
    const SectionT &section = *index->sections[weight.section];
    result["offset"] = section.offset;
    result["size"] = section.size;
    result["checksum"] = hexadecimal(section.checksum);
  }
  if (weight.layout && weight.layout->kind == LayoutKind::zeros)
    result["zeros"] = zeroCount(number);
  return result;
}

Json Describer::device(const DeviceT &device) const {
  Json states = Json::array(), kernels = Json::array();
  Json programs = Json::array(), targets = Json::array();
  for (const auto &state : device.states)
    states.push_back({{"name", state->name},
                      {"offset", state->offset},
                      {"size", state->size}});
  for (size_t i = 0; i < device.kernels.size(); ++i)
    kernels.push_back(kernel(device, i));
  for (const auto &entry : device.programs)
    programs.push_back(program(device, *entry));
  for (const auto &entry : device.targets)
    targets.push_back(target(*entry));
  return {
      {"kind", device.kind}, {"slot_bytes", device.slot_bytes},
      {"states", states},    {"targets", targets},
      {"kernels", kernels},  {"programs", programs},
  };
}

Json Describer::target(const TargetT &target) const {
  Json images = Json::array();
  for (const auto &image : target.images)
    images.push_back({{"kind", EnumNameImageKind(image->kind)},
                      {"size", artifact.section(image->section).size}});
  return {
      {"name", target.name},
      {"triple", target.triple},
      {"chip", target.chip},
      {"features", target.features},
      {"capabilities", target.capabilities},
      {"images", images},
  };
}

/// "8 x ceil(tokens / 16)"; 1 for a phase of one tile.
static std::string gridText(const PhaseT &phase) {
  std::string text;
  for (const auto &term : phase.grid) {
    text += text.empty() ? "" : " x ";
    if (term->dim == Dim::none)
      text += std::to_string(term->extent / term->divisor +
                             (term->extent % term->divisor != 0));
    else if (term->divisor == 1)
      text += EnumNameDim(term->dim);
    else
      text += std::string("ceil(") + EnumNameDim(term->dim) + " / " +
              std::to_string(term->divisor) + ")";
  }
  return text.empty() ? "1" : text;
}

/// "1 <= tokens - sequences"; none for a phase that always runs.
static std::string conditionText(const PhaseT &phase) {
  if (!phase.when)
    return "";
  std::string text;
  if (phase.when->low > 0)
    text = std::to_string(phase.when->low) + " <= ";
  text += EnumNameDim(phase.when->dim);
  if (phase.when->less != Dim::none)
    text += std::string(" - ") + EnumNameDim(phase.when->less);
  if (phase.when->high != INT64_MAX)
    text += " <= " + std::to_string(phase.when->high);
  return text;
}

/// The functions of a target's first image; none if it is not ELF.
static std::map<std::string, ElfFunction> functionsOf(const Artifact &artifact,
                                                      const TargetT &target) {
  const ImageT &image = *target.images.front();
  if (image.kind != ImageKind::elf)
    return {};
  return readElfFunctions(artifact.section(image.section));
}

Json Describer::kernel(const DeviceT &device, size_t number) const {
  const KernelT &kernel = *device.kernels[number];
  Json params = Json::array();
  for (const auto &param : kernel.params)
    params.push_back({{"name", param->name},
                      {"access", EnumNameAccess(param->access)},
                      {"dtype", EnumNameDType(param->dtype)},
                      {"dim", EnumNameDim(param->dim)},
                      {"shape", param->shape},
                      {"layout", layoutText(param->layout.get())},
                      {"fixed_bytes", param->fixed_bytes},
                      {"bytes_per_dim", param->bytes_per_dim}});
  uint64_t launches = 0;
  for (const auto &program : device.programs)
    for (const auto &command : program->commands)
      launches += command->kernel == number;

  Json targets = Json::array();
  for (const auto &target : device.targets) {
    auto functions = functionsOf(artifact, *target);
    Json phases = Json::array();
    for (const auto &phase : target->kernels[number]->phases) {
      Json entry = {{"symbol", phase->symbol}, {"grid", gridText(*phase)}};
      if (phase->when)
        entry["when"] = conditionText(*phase);
      if (auto found = functions.find(phase->symbol); found != functions.end())
        entry["code_bytes"] = found->second.code.size;
      if (const ResourcesT *resources = phase->resources.get())
        entry["resources"] = {
            {"threads", resources->threads},
            {"cluster", resources->cluster},
            {"shared_bytes", resources->shared_bytes},
            {"static_shared_bytes", resources->static_shared_bytes},
            {"registers", resources->registers},
            {"spill_bytes", resources->spill_bytes}};
      phases.push_back(entry);
    }
    targets.push_back({{"target", target->name}, {"phases", phases}});
  }
  return {
      {"name", kernel.name}, {"op", kernel.op},    {"launches", launches},
      {"params", params},    {"targets", targets},
  };
}

Json Describer::command(const DeviceT &device, const CommandT &command) const {
  const KernelT &kernel = *device.kernels[command.kernel];
  Json args = Json::array();
  for (size_t a = 0; a < command.args.size(); ++a) {
    const ArgT &arg = *command.args[a];
    Json entry = {{"param", kernel.params[a]->name},
                  {"access", EnumNameAccess(kernel.params[a]->access)}};
    switch (arg.kind) {
    case ArgKind::arena:
      entry["arena"] = {{"offset", arg.offset}, {"size", arg.size}};
      break;
    case ArgKind::weight:
      entry["weight"] = index->weights[arg.index]->name;
      break;
    case ArgKind::state:
      entry["state"] = device.states[arg.index]->name;
      break;
    }
    args.push_back(entry);
  }
  return {{"kernel", kernel.name}, {"args", args}};
}

Json Describer::program(const DeviceT &device, const ProgramT &program) const {
  auto ports = [](const std::vector<std::unique_ptr<PortT>> &ports) {
    Json list = Json::array();
    for (const auto &port : ports)
      list.push_back({{"name", port->name},
                      {"dtype", EnumNameDType(port->dtype)},
                      {"dim", EnumNameDim(port->dim)},
                      {"shape", port->shape},
                      {"offset", port->offset},
                      {"size", port->size}});
    return list;
  };
  Json commands = Json::array(), values = Json::array();
  for (const auto &entry : program.commands)
    commands.push_back(command(device, *entry));
  MemoryPlan plan = deriveMemoryPlan(device, program);
  for (const ArenaValue &value : plan.values)
    values.push_back({{"name", value.name},
                      {"offset", value.offset},
                      {"size", value.size},
                      {"first", value.first},
                      {"last", value.last}});
  return {
      {"name", program.name},
      {"max_tokens", program.max_tokens},
      {"max_sequences", program.max_sequences},
      {"max_rows", program.max_rows},
      {"arena_size", program.arena_size},
      {"arena_peak", plan.peak},
      {"inputs", ports(program.inputs)},
      {"outputs", ports(program.outputs)},
      {"commands", commands},
      {"arena", values},
  };
}

Json tools::describeArtifact(const Artifact &artifact) {
  return Describer(artifact).describe();
}

void tools::applyFilter(Json &artifact, const CodeFilter &filter) {
  if (!filter.device.empty()) {
    Json kept = Json::array();
    std::string kinds;
    for (const Json &device : artifact["devices"]) {
      std::string kind = device["kind"];
      kinds += (kinds.empty() ? "" : ", ") + kind;
      if (kind == filter.device)
        kept.push_back(device);
    }
    if (kept.empty())
      fail("no device '", filter.device,
           "' in the artifact; it has: ", kinds.empty() ? "none" : kinds);
    artifact["devices"] = kept;
  }
  auto check = [&](const char *what, const std::string &name,
                   const char *list) {
    std::string names;
    for (const Json &device : artifact["devices"])
      for (const Json &entry : device[list]) {
        if (name.empty() || entry["name"] == name)
          return;
        names += (names.empty() ? "" : ", ") + entry["name"].get<std::string>();
      }
    if (!name.empty())
      fail("no ", what, " '", name,
           "' in the artifact; it has: ", names.empty() ? "none" : names);
  };
  check("target", filter.target, "targets");
  check("kernel", filter.kernel, "kernels");
}

static const ImageT *findImage(const TargetT &target, ImageKind kind) {
  for (const auto &image : target.images)
    if (image->kind == kind)
      return image.get();
  return nullptr;
}

/// The text of a kernel in PTX, or nothing: from the line of its name to the
/// brace that ends it, which stands alone.
static std::string findEntry(const std::string &ptx,
                             const std::string &symbol) {
  size_t name = ptx.find(".entry " + symbol + "(");
  if (name == std::string::npos)
    return "";
  size_t begin = ptx.rfind('\n', name) + 1; // 0 if it is the first line
  size_t end = ptx.find("\n}", name);
  return ptx.substr(begin, end == std::string::npos ? end : end + 3 - begin);
}

Json tools::describeAssembly(const Artifact &artifact,
                             const CodeFilter &filter) {
  std::unique_ptr<IndexT> index(artifact.index().UnPack());
  Json list = Json::array();
  for (const auto &device : index->devices) {
    if (!filter.device.empty() && device->kind != filter.device)
      continue;
    auto found = std::find_if(
        device->targets.begin(), device->targets.end(), [&](auto &target) {
          return filter.target.empty() || target->name == filter.target;
        });
    if (found == device->targets.end())
      continue;
    const TargetT &target = **found;
    auto functions = functionsOf(artifact, target);
    std::string ptx;
    if (const ImageT *image = findImage(target, ImageKind::ptx)) {
      Bytes bytes = artifact.section(image->section);
      ptx.assign(reinterpret_cast<const char *>(bytes.data), bytes.size);
    }
    auto assemblyOf = [&](const std::string &symbol) -> std::string {
      if (auto function = functions.find(symbol); function != functions.end())
        return disassemble(function->second, target.triple);
      std::string text = findEntry(ptx, symbol);
      if (text.empty())
        fail("the code of target '", target.name, "' has no function '", symbol,
             "'");
      return text;
    };
    for (size_t k = 0; k < device->kernels.size(); ++k) {
      const std::string &kernel = device->kernels[k]->name;
      if (!filter.kernel.empty() && kernel != filter.kernel)
        continue;
      for (const auto &phase : target.kernels[k]->phases)
        list.push_back({{"target", target.name},
                        {"kernel", kernel},
                        {"symbol", phase->symbol},
                        {"grid", gridText(*phase)},
                        {"assembly", assemblyOf(phase->symbol)}});
    }
  }
  return list;
}

std::vector<std::string> tools::extractImages(const Artifact &artifact,
                                              const std::string &folder) {
  std::unique_ptr<IndexT> index(artifact.index().UnPack());
  std::vector<std::string> paths;
  std::filesystem::create_directories(folder);
  for (const auto &device : index->devices)
    for (const auto &target : device->targets)
      for (const auto &image : target->images) {
        // A name from the file must not lead out of the folder.
        std::string name = target->name;
        std::replace(name.begin(), name.end(), '/', '_');
        std::string path = (std::filesystem::path(folder) /
                            (name + "." + EnumNameImageKind(image->kind)))
                               .string();
        Bytes bytes = artifact.section(image->section);
        TemporaryFile file(path);
        file.append(bytes.data, bytes.size);
        file.commit();
        paths.push_back(path);
      }
  return paths;
}
