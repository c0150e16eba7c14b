//===- ArtifactText.cpp - an artifact for people -----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "tools/common/Progress.h"
#include "tools/mambit-inspect/ArtifactReport.h"
#include "tools/mambit-inspect/Table.h"

#include <cstdio>

using namespace mambit;
using namespace mambit::tools;

static std::string joined(const Json &list, const char *separator = ", ") {
  std::string result;
  for (const Json &entry : list)
    result += (result.empty() ? "" : separator) + textOf(entry);
  return result.empty() ? "none" : result;
}

void tools::printSummary(const Json &artifact) {
  printField("artifact",
             textOf(artifact["path"]) +
                 (artifact["skeleton"] ? " (skeleton, no weights)" : ""));
  printField("size", formatBytes(artifact["size"]) + ", format version " +
                         textOf(artifact["format_version"]));
  printField("producer", textOf(artifact["producer"]));
  printField("flags", joined(artifact["flags"], " "));
  if (const Json &config = artifact["config"]; !config.is_null()) {
    printField("model", textOf(config["format"]) + ", d_model " +
                            textOf(config["d_model"]) + ", " +
                            textOf(config["layers"]) + " layers, vocabulary " +
                            textOf(config["vocab"]));
    printField("mixer", textOf(config["heads"]) + " heads of " +
                            textOf(config["headdim"]) + ", " +
                            textOf(config["groups"]) + " groups, d_state " +
                            textOf(config["d_state"]) + ", d_conv " +
                            textOf(config["d_conv"]));
    printField("lm_head", config["tied"] ? "the embedding" : "its own");
    printField("activations", textOf(config["activation_bits"]) + " bits");
    printField("SSM states", textOf(config["state_dtype"]));
    printField("parameters", textOf(config["parameters"]) + ", of which " +
                                 textOf(config["binary_parameters"]) +
                                 " 1-bit");
  }
  printField("weights", std::to_string(artifact["weights"].size()) + ", " +
                            formatBytes(artifact["weight_bytes"]) + ", " +
                            textOf(artifact["exact_zeros"]) + " exact zeros");
  if (const Json &tokenizer = artifact["tokenizer"]; !tokenizer.is_null())
    printField("tokenizer", textOf(tokenizer["kind"]) + ", " +
                                formatBytes(tokenizer["size"]));
  else
    printField("tokenizer", "none");
  for (const Json &input : artifact["inputs"])
    printField("made from", textOf(input["file"]) + ", " +
                                formatBytes(input["size"]) + ", " +
                                textOf(input["hash"]));
  for (const Json &device : artifact["devices"]) {
    printField("device", textOf(device["kind"]) + ", " +
                             std::to_string(device["kernels"].size()) +
                             " kernels, " + formatBytes(device["slot_bytes"]) +
                             " of state a sequence");
    for (const Json &target : device["targets"]) {
      std::string images;
      for (const Json &image : target["images"])
        images +=
            ", " + textOf(image["kind"]) + " " + formatBytes(image["size"]);
      printField("  target", textOf(target["name"]) + " (" +
                                 textOf(target["triple"]) + ")" + images +
                                 ", needs: " + joined(target["features"]));
    }
    for (const Json &program : device["programs"])
      printField("  program",
                 textOf(program["name"]) + ", " +
                     std::to_string(program["commands"].size()) +
                     " commands, at most " + textOf(program["max_tokens"]) +
                     " tokens of " + textOf(program["max_sequences"]) +
                     " sequences and " + textOf(program["max_rows"]) +
                     " rows of logits, arena " +
                     formatBytes(program["arena_size"]));
  }
}

/// "f32[rowsx4096]": the dynamic dimension leads.
static std::string bufferText(const Json &buffer) {
  Json shape = buffer["shape"];
  if (buffer["dim"] != "none")
    shape.insert(shape.begin(), buffer["dim"]);
  return textOf(buffer["dtype"]) + shapeText(shape);
}

static std::string portText(const Json &port) {
  return textOf(port["name"]) + " " + bufferText(port) + " at " +
         textOf(port["offset"]) + "+" + textOf(port["size"]);
}

void tools::printPrograms(const Json &artifact) {
  for (const Json &device : artifact["devices"])
    for (const Json &program : device["programs"]) {
      std::printf("program %s on %s: at most %s tokens, %s sequences, %s rows; "
                  "arena of %s bytes\n",
                  textOf(program["name"]).c_str(),
                  textOf(device["kind"]).c_str(),
                  textOf(program["max_tokens"]).c_str(),
                  textOf(program["max_sequences"]).c_str(),
                  textOf(program["max_rows"]).c_str(),
                  textOf(program["arena_size"]).c_str());
      for (const Json &port : program["inputs"])
        std::printf("  input   %s\n", portText(port).c_str());
      for (const Json &port : program["outputs"])
        std::printf("  output  %s\n", portText(port).c_str());
      size_t number = 0;
      for (const Json &command : program["commands"]) {
        std::printf("  #%zu %s(", number++, textOf(command["kernel"]).c_str());
        const char *separator = "";
        for (const Json &arg : command["args"]) {
          std::string value;
          if (arg.contains("weight"))
            value = "@" + textOf(arg["weight"]);
          else if (arg.contains("state"))
            value = "state " + textOf(arg["state"]);
          else
            value = "arena " + textOf(arg["arena"]["offset"]) + "+" +
                    textOf(arg["arena"]["size"]);
          std::printf("%s%s: %s", separator, textOf(arg["param"]).c_str(),
                      value.c_str());
          separator = ", ";
        }
        std::printf(")\n");
      }
      std::printf("\n");
    }
}

void tools::printMemory(const Json &artifact) {
  for (const Json &device : artifact["devices"]) {
    for (const Json &program : device["programs"]) {
      uint64_t arena = program["arena_size"], peak = program["arena_peak"];
      std::printf("arena of program %s on %s: %ju bytes, %ju alive at most\n",
                  textOf(program["name"]).c_str(),
                  textOf(device["kind"]).c_str(), uintmax_t(arena),
                  uintmax_t(peak));
      int64_t commands = int64_t(program["commands"].size());
      Table table({"offset", "size", "commands", "value"}, {0, 1});
      for (const Json &value : program["arena"]) {
        int64_t first = value["first"], last = value["last"];
        table.row({textOf(value["offset"]), textOf(value["size"]),
                   (first < 0 ? "input" : "#" + std::to_string(first)) +
                       " .. " +
                       (last == commands ? "output"
                        : last < 0       ? "unused"
                                         : "#" + std::to_string(last)),
                   textOf(value["name"])});
      }
      table.print();
      std::printf("\n");
    }
    std::printf("state of a sequence on %s: %s bytes\n",
                textOf(device["kind"]).c_str(),
                textOf(device["slot_bytes"]).c_str());
    Table table({"offset", "size", "state"}, {0, 1});
    for (const Json &state : device["states"])
      table.row({textOf(state["offset"]), textOf(state["size"]),
                 textOf(state["name"])});
    table.print();
    std::printf("\n");
  }
}

static void printPhases(const Json &targets, const CodeFilter &filter) {
  // What is known of a phase: on a GPU what it uses, else the size of its code.
  static constexpr std::pair<const char *, const char *> kResources[] = {
      {"threads", "threads"},     {"cluster", "cluster"},
      {"shared_bytes", "shared"}, {"static_shared_bytes", "static shared"},
      {"registers", "registers"}, {"spill_bytes", "spilled"}};
  bool resources = false;
  for (const Json &target : targets)
    for (const Json &phase : target["phases"])
      resources |= phase.contains("resources");
  std::vector<std::string> heading = {"target", "phase", "grid"};
  if (resources)
    for (auto [key, title] : kResources)
      heading.push_back(title);
  else
    heading.push_back("code bytes");
  Table table(heading, {3, 4, 5, 6, 7, 8});
  for (const Json &target : targets) {
    if (!filter.target.empty() && target["target"] != filter.target)
      continue;
    for (const Json &phase : target["phases"]) {
      std::vector<std::string> row = {
          textOf(target["target"]), textOf(phase["symbol"]),
          textOf(phase["grid"]) +
              (phase.contains("when") ? " if " + textOf(phase["when"]) : "")};
      if (resources)
        for (auto [key, title] : kResources)
          row.push_back(phase.contains("resources")
                            ? textOf(phase["resources"][key])
                            : "?");
      else
        row.push_back(phase.contains("code_bytes") ? textOf(phase["code_bytes"])
                                                   : "?");
      table.row(row);
    }
  }
  table.print();
}

void tools::printKernels(const Json &artifact, const CodeFilter &filter) {
  for (const Json &device : artifact["devices"])
    for (const Json &kernel : device["kernels"]) {
      if (!filter.kernel.empty() && kernel["name"] != filter.kernel)
        continue;
      std::string op = textOf(kernel["op"]);
      std::printf("kernel %s%s on %s, launched by %s commands\n",
                  textOf(kernel["name"]).c_str(),
                  op.empty() ? "" : (" (" + op + ")").c_str(),
                  textOf(device["kind"]).c_str(),
                  textOf(kernel["launches"]).c_str());
      Table params({"parameter", "access", "type", "layout", "bytes"});
      for (const Json &param : kernel["params"]) {
        std::string dim = textOf(param["dim"]), bytes;
        uint64_t fixed = param["fixed_bytes"], scaled = param["bytes_per_dim"];
        if (fixed || !scaled)
          bytes = std::to_string(fixed);
        if (scaled)
          bytes += (fixed ? " + " : "") + std::to_string(scaled) + " x " + dim;
        params.row({textOf(param["name"]), textOf(param["access"]),
                    bufferText(param), textOf(param["layout"]), bytes});
      }
      params.print();
      printPhases(kernel["targets"], filter);
      std::printf("\n");
    }
}

void tools::printWeights(const Json &artifact) {
  Table table({"weight", "type", "layout", "bytes", "checksum", "recipe"}, {3});
  for (const Json &weight : artifact["weights"]) {
    const Json &sources = weight["sources"];
    std::string recipe = textOf(sources[0]["key"]) + " " +
                         textOf(sources[0]["dtype"]) +
                         shapeText(sources[0]["shape"]);
    for (const Json &step : weight["steps"]) {
      std::string text = textOf(step);
      // multiply<1> says little: name the tensor.
      if (text.rfind("multiply<", 0) == 0)
        text = "multiply " + textOf(sources[std::stoul(text.substr(9))]["key"]);
      recipe += " | " + text;
    }
    bool attached = weight.contains("size");
    table.row({textOf(weight["name"]),
               textOf(weight["dtype"]) + shapeText(weight["shape"]),
               textOf(weight["layout"]) +
                   (weight.contains("zeros")
                        ? ", " + textOf(weight["zeros"]) + " zeros"
                        : ""),
               attached ? textOf(weight["size"]) : "-",
               attached ? textOf(weight["checksum"]) : "-", recipe});
  }
  table.print();
}

void tools::printAssembly(const Json &assembly) {
  for (const Json &phase : assembly)
    std::printf("%s (%s, %s; tiles: %s)\n%s\n", textOf(phase["symbol"]).c_str(),
                textOf(phase["kernel"]).c_str(),
                textOf(phase["target"]).c_str(), textOf(phase["grid"]).c_str(),
                textOf(phase["assembly"]).c_str());
}
