//===- VerifyTest.cpp - one negative test a rule -----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "Synthetic.h"

#include <gtest/gtest.h>

using namespace mambit::artifact;
using namespace mambit::artifact::test;

namespace {

/// A whole artifact to spoil. Writing verifies, so the writer's error is the
/// verifier's.
class Verify : public testing::Test {
protected:
  Verify() {
    ScratchFile file;
    MemoryTensors tensors = makeTensors();
    pack(makeSkeleton(), tensors, file);
    artifact = std::make_unique<Artifact>(Artifact::open(file));
    draft = Draft::fromArtifact(*artifact);
  }

  std::string error() {
    ScratchFile file;
    std::string error = errorOf([&] { write(draft, file); });
    std::string prefix = file.path + ": not written: ";
    EXPECT_EQ(file.exists(), error.empty());
    return error.find(prefix) == 0 ? error.substr(prefix.size()) : error;
  }

  IndexT &index() { return draft.index; }
  WeightT &weight(size_t i) { return *index().weights[i]; }
  DeviceT &device() { return *index().devices[0]; }
  KernelT &kernel() { return *device().kernels[0]; }
  ParamT &param(size_t i) { return *kernel().params[i]; }
  ProgramT &program() { return *device().programs[0]; }
  CommandT &command() { return *program().commands[0]; }
  ArgT &arg(size_t i) { return *command().args[i]; }
  TargetT &target() { return *device().targets[0]; }
  PhaseT &phase() { return *target().kernels[0]->phases[0]; }

  void setPayload(size_t weight, std::vector<uint8_t> bytes) {
    draft.payloads[index().weights[weight]->section] =
        [bytes = std::move(bytes)](Sink &sink) {
          sink.write(bytes.data(), bytes.size());
        };
  }

  const std::string inDevice = "device 0 'cpu': ";
  const std::string inProgram = inDevice + "program 0 'decode': ";
  const std::string inCommand = inProgram + "command 0: ";
  const std::string inTarget = inDevice + "target 0 'x86-64-v4': ";
  const std::string inPhase = inTarget + "code of kernel 0 'linear_17x33': "
                                         "phase 0 'linear_17x33_0': ";

  std::unique_ptr<Artifact> artifact;
  Draft draft;
};

TEST_F(Verify, valid) { EXPECT_EQ(error(), ""); }

TEST_F(Verify, unknownFeature) {
  index().required_features = {"time-travel"};
  EXPECT_EQ(error(), "needs feature 'time-travel', which this program does not "
                     "know");
}

//===-----------------------------------------------------------------===//
// Weights
//===-----------------------------------------------------------------===//

TEST_F(Verify, weightNameMissing) {
  weight(0).name = "";
  EXPECT_EQ(error(), "weight 0 '': has no name");
}

TEST_F(Verify, weightNameNotUnique) {
  weight(2).name = "layer0::w";
  EXPECT_EQ(error(), "weight 2 'layer0::w': the name is not unique");
}

TEST_F(Verify, weightSectionOutOfRange) {
  weight(2).section = 4;
  EXPECT_EQ(error(), "weight 2 'norm': section 4 is none of the 4");
  weight(2).section = -2;
  EXPECT_EQ(error(), "weight 2 'norm': section -2 is none of the 4");
}

TEST_F(Verify, sectionUsedTwice) {
  weight(2).section = weight(0).section;
  EXPECT_EQ(error(),
            "weight 2 'norm': section 1 belongs to something else already");
}

TEST_F(Verify, weightsAttachedInPart) {
  weight(2).section = -1;
  EXPECT_EQ(error(), "only 2 of 3 weights are attached");
}

TEST_F(Verify, weightOfAnotherSize) {
  setPayload(2, std::vector<uint8_t>(128));
  EXPECT_EQ(error(), "weight 2 'norm': expected 132 bytes, section 3 has 128");
  setPayload(0, std::vector<uint8_t>(260));
  EXPECT_EQ(error(),
            "weight 0 'layer0::w': expected 256 bytes, section 1 has 260");
}

TEST_F(Verify, zerosOfAnotherSize) {
  setPayload(1, std::vector<uint8_t>(8));
  EXPECT_EQ(error(),
            "weight 1 'layer0::w.zeros': expected at least 12 bytes, found 8");
  setPayload(1, std::vector<uint8_t>(16));
  EXPECT_EQ(
      error(),
      "weight 1 'layer0::w.zeros': the list of zeros ends inside an entry");
}

TEST_F(Verify, layoutAndShape) {
  auto errorWith = [&](size_t i, DType dtype, Shape shape, LayoutKind kind,
                       uint32_t rows) {
    weight(i).dtype = dtype;
    weight(i).shape = std::move(shape);
    weight(i).layout = makeLayout(kind, rows);
    std::string error = this->error();
    return error.substr(error.find(": ") + 2);
  };
  EXPECT_EQ(errorWith(0, DType::bits, {17, 33}, LayoutKind::bit_tile, 8),
            "layout bit_tile needs tile rows a multiple of 16, found 8");
  EXPECT_EQ(errorWith(0, DType::bits, {17, 33}, LayoutKind::bit_tile, 0),
            "layout bit_tile has tiles of 0 rows");
  EXPECT_EQ(errorWith(0, DType::bits, {561}, LayoutKind::bit_tile, 16),
            "layout bit_tile needs a matrix, found rank 1");
  EXPECT_EQ(errorWith(0, DType::i8, {17, 33}, LayoutKind::bit_tile, 16),
            "layout bit_tile holds bits, found i8");
  EXPECT_EQ(errorWith(0, DType::f32, {17, 33}, LayoutKind::zeros, 16),
            "layout zeros holds i32, found f32");
  EXPECT_EQ(errorWith(0, DType::bits, {17, 33}, LayoutKind::interleave, 16),
            "layout interleave takes no bits");
  EXPECT_EQ(errorWith(0, DType::bits, {17, 33}, LayoutKind::row_major, 0),
            "layout row_major takes no bits and no tile rows, found bits and 0 "
            "rows");
  EXPECT_EQ(
      errorWith(0, DType::bits, {1ull << 31, 2}, LayoutKind::bit_tile, 16),
      "layout bit_tile holds no matrix of 2147483648x2");
  EXPECT_EQ(errorWith(0, DType::f32, {1ull << 40, 1ull << 40},
                      LayoutKind::row_major, 0),
            "a tensor in layout row_major has more than 2^63 bytes");
  EXPECT_EQ(errorWith(0, DType::f32, {UINT64_MAX, UINT64_MAX},
                      LayoutKind::interleave, 16),
            "a tensor in layout interleave has more than 2^63 bytes");
}

TEST_F(Verify, recipe) {
  auto errorWith = [&](size_t i, auto change) {
    IndexT copy;
    artifact->index().UnPackTo(&copy);
    index().weights = std::move(copy.weights);
    change(weight(i));
    std::string error = this->error();
    return error.substr(error.find(": ") + 2);
  };
  EXPECT_EQ(errorWith(0, [](WeightT &w) { w.steps.clear(); }),
            "the recipe of layout bit_tile does not end in sign");
  EXPECT_EQ(errorWith(2, [](WeightT &w) { w.sources.clear(); }),
            "has no source");
  EXPECT_EQ(errorWith(2, [](WeightT &w) { w.dtype = DType::i32; }),
            "no recipe makes elements of type i32");
  EXPECT_EQ(errorWith(2, [](WeightT &w) { w.dtype = DType::f16; }),
            "expected elements of type f16, the recipe makes f32");
  EXPECT_EQ(errorWith(2, [](WeightT &w) { w.shape = {34}; }),
            "expected shape [34], source 'norm' has [33]");
  EXPECT_EQ(errorWith(2, [](WeightT &w) { w.sources[0]->dtype = DType::bits; }),
            "source 'norm' holds no numbers");
  EXPECT_EQ(
      errorWith(2, [](WeightT &w) { w.sources[0]->shape = {UINT64_MAX, 2}; }),
      "source 'norm' has too large a shape [18446744073709551615, 2]");
  EXPECT_EQ(
      errorWith(2,
                [](WeightT &w) { w.steps.push_back(makeStep(StepKind(77))); }),
      "step 0 is unknown: 77");
  EXPECT_EQ(errorWith(2,
                      [](WeightT &w) {
                        w.steps.push_back(makeStep(StepKind::multiply, 1));
                      }),
            "step 0 multiplies by source 1 of 1");
  EXPECT_EQ(errorWith(2,
                      [](WeightT &w) {
                        w.sources.push_back(makeSource("scale", {32}));
                        w.steps.push_back(makeStep(StepKind::multiply, 1));
                      }),
            "step 0 multiplies 33 elements by 32");
  EXPECT_EQ(errorWith(2,
                      [](WeightT &w) {
                        w.steps.push_back(
                            makeStep(StepKind::cast, 0, DType::i8));
                      }),
            "step 0 casts to no float type: 4");
  EXPECT_EQ(errorWith(2,
                      [](WeightT &w) {
                        w.sources[0]->shape = {3, 11, 2};
                        w.steps.push_back(makeStep(StepKind::transpose));
                      }),
            "step 0 transposes shape [3, 11, 2]");
}

TEST_F(Verify, tokenizerSection) {
  index().tokenizer = std::make_unique<TokenizerT>();
  index().tokenizer->kind = "sentencepiece";
  EXPECT_EQ(error(),
            "tokenizer 0 'sentencepiece': section -1 is none of the 4");
}

//===-----------------------------------------------------------------===//
// Devices, states, kernels
//===-----------------------------------------------------------------===//

TEST_F(Verify, deviceNotUnique) {
  auto other = std::make_unique<DeviceT>();
  other->kind = "cpu";
  index().devices.push_back(std::move(other));
  EXPECT_EQ(error(), "device 1 'cpu': the name is not unique");
}

TEST_F(Verify, deviceWithoutTarget) {
  device().targets.clear();
  EXPECT_EQ(error(), inDevice + "has no target");
}

TEST_F(Verify, slotBytes) {
  device().slot_bytes = 200;
  EXPECT_EQ(error(), inDevice + "slots of 200 bytes are not a multiple of 64");
  device().slot_bytes = UINT64_MAX - 63;
  EXPECT_EQ(error(), inDevice + "slots of 18446744073709551552 bytes are not a "
                                "multiple of 64");
}

TEST_F(Verify, stateOutsideTheSlot) {
  device().states[1]->size = 129;
  EXPECT_EQ(error(), inDevice +
                         "state 1 'ssm0': 129 bytes at 64 reach beyond a "
                         "slot of 192 bytes");
  device().states[1]->offset = UINT64_MAX - 63;
  EXPECT_EQ(error(), inDevice +
                         "state 1 'ssm0': 129 bytes at "
                         "18446744073709551552 reach beyond a slot of 192 "
                         "bytes");
}

TEST_F(Verify, stateNotAligned) {
  device().states[1]->offset = 32;
  EXPECT_EQ(error(),
            inDevice + "state 1 'ssm0': offset 32 is not aligned to 64");
}

TEST_F(Verify, statesOverlap) {
  device().states[0]->size = 65;
  EXPECT_EQ(error(), inDevice + "state 1 'ssm0' overlaps state 0 'conv0'");
}

TEST_F(Verify, namesNotUnique) {
  device().states[1]->name = "conv0";
  EXPECT_EQ(error(), inDevice + "state 1 'conv0': the name is not unique");
  device().states[1]->name = "ssm0";
  program().inputs[1]->name = "ids";
  EXPECT_EQ(error(), inProgram + "input 1 'ids': the name is not unique");
  program().inputs[1]->name = "offsets";
  IndexT copy;
  artifact->index().UnPackTo(&copy);
  device().programs.push_back(std::move(copy.devices[0]->programs[0]));
  EXPECT_EQ(error(), inDevice + "program 1 'decode': the name is not unique");
  device().programs.pop_back();
  device().kernels.push_back(std::move(copy.devices[0]->kernels[0]));
  EXPECT_EQ(error(),
            inDevice + "kernel 1 'linear_17x33': the name is not unique");
  device().kernels.pop_back();
  device().targets.push_back(std::move(copy.devices[0]->targets[0]));
  EXPECT_EQ(error(), inDevice + "target 1 'x86-64-v4': the name is not unique");
}

TEST_F(Verify, parameter) {
  const std::string inKernel = inDevice + "kernel 0 'linear_17x33': parameter ";
  param(2).bytes_per_dim = 4;
  EXPECT_EQ(error(), inKernel + "2 'w': has 4 bytes for each unit of no "
                                "dimension");
  param(2).bytes_per_dim = 0;
  param(5).fixed_bytes = 4;
  EXPECT_EQ(error(), inKernel + "5 'ssm': a state has no fixed bytes, found 4");
  param(5).fixed_bytes = 0;
  param(0).access = Access(9);
  EXPECT_EQ(error(), inKernel + "0 'ids': unknown access 9");
  param(0).access = Access::read;
  param(0).dim = Dim(9);
  EXPECT_EQ(error(), inKernel + "0 'ids': unknown dimension 9");
  param(0).dim = Dim::tokens;
  param(0).dtype = DType(99);
  EXPECT_EQ(error(), inKernel + "0 'ids': unknown element type 99");
  param(0).dtype = DType::i32;
  param(2).layout->kind = LayoutKind(9);
  EXPECT_EQ(error(), inKernel + "2 'w': unknown layout 9");
}

//===-----------------------------------------------------------------===//
// Programs
//===-----------------------------------------------------------------===//

TEST_F(Verify, capacity) {
  program().max_tokens = 0;
  EXPECT_EQ(error(), inProgram +
                         "expected a number of tokens between 1 and 2^31 "
                         "- 1, found 0");
  program().max_tokens = 8;
  program().max_rows = 1ull << 31;
  EXPECT_EQ(error(), inProgram + "expected a number of rows between 1 and 2^31 "
                                 "- 1, found 2147483648");
}

TEST_F(Verify, arenaSize) {
  program().arena_size = UINT64_MAX;
  EXPECT_EQ(error(), inProgram + "the arena has 18446744073709551615 bytes");
}

TEST_F(Verify, portOutsideTheArena) {
  program().outputs[0]->size = 193;
  EXPECT_EQ(error(), inProgram + "output 0 'logits': 193 bytes at 128 reach "
                                 "beyond the arena of 320 bytes");
  program().outputs[0]->size = UINT64_MAX;
  EXPECT_NE(error().find("reach beyond the arena"), std::string::npos);
}

TEST_F(Verify, portNotAligned) {
  program().outputs[0]->offset = 132;
  EXPECT_EQ(error(), inProgram + "output 0 'logits': offset 132 is not aligned "
                                 "to 64");
}

TEST_F(Verify, portTooSmall) {
  program().inputs[1]->size = 16;
  EXPECT_EQ(error(), inProgram +
                         "input 1 'offsets': expected at least 20 bytes, "
                         "found 16");
}

TEST_F(Verify, portsOverlap) {
  program().inputs[0]->size = 68;
  EXPECT_EQ(error(), inProgram + "input 1 'offsets' overlaps input 0 'ids'");
}

TEST_F(Verify, portOfAState) {
  program().inputs[0]->dim = Dim::slots;
  EXPECT_EQ(error(),
            inProgram + "input 0 'ids': a state is no input or output");
}

TEST_F(Verify, portOfNoDimension) {
  program().inputs[0]->dim = Dim::none;
  EXPECT_EQ(error(), inProgram +
                         "input 0 'ids': has 4 bytes for each unit of no "
                         "dimension");
}

TEST_F(Verify, portOfUnknownKind) {
  program().inputs[0]->dim = Dim(8);
  EXPECT_EQ(error(), inProgram + "input 0 'ids': unknown dimension 8");
  program().inputs[0]->dim = Dim::tokens;
  program().inputs[0]->dtype = DType(88);
  EXPECT_EQ(error(), inProgram + "input 0 'ids': unknown element type 88");
}

//===-----------------------------------------------------------------===//
// Commands
//===-----------------------------------------------------------------===//

TEST_F(Verify, commandOfNoKernel) {
  command().kernel = 1;
  EXPECT_EQ(error(), inCommand + "kernel 1 is none of the 1");
}

TEST_F(Verify, numberOfArguments) {
  command().args.pop_back();
  EXPECT_EQ(error(), inCommand +
                         "kernel 'linear_17x33' has 7 parameters, found "
                         "6 arguments");
}

TEST_F(Verify, kindOfArgument) {
  arg(0).kind = ArgKind(9);
  EXPECT_EQ(error(),
            inCommand + "argument 0 'ids': unknown kind of argument 9");
  arg(0).kind = ArgKind::state;
  EXPECT_EQ(error(), inCommand +
                         "argument 0 'ids': kernel 'linear_17x33' expects "
                         "no state here, found state");
  arg(0).kind = ArgKind::arena;
  arg(5).kind = ArgKind::arena;
  EXPECT_EQ(error(), inCommand +
                         "argument 5 'ssm': kernel 'linear_17x33' expects "
                         "a state here, found arena");
}

TEST_F(Verify, argumentOutsideTheArena) {
  arg(6).size = 200;
  EXPECT_EQ(error(), inCommand +
                         "argument 6 'out': 200 bytes at 128 reach beyond "
                         "the arena of 320 bytes");
  arg(6).offset = UINT64_MAX - 63;
  EXPECT_NE(error().find("reach beyond the arena"), std::string::npos);
}

TEST_F(Verify, argumentNotAligned) {
  arg(6).offset = 160;
  EXPECT_EQ(error(),
            inCommand + "argument 6 'out': offset 160 is not aligned to 64");
}

TEST_F(Verify, argumentTooSmall) {
  arg(1).size = 19;
  EXPECT_EQ(error(), inCommand + "argument 1 'offsets': expected at least 20 "
                                 "bytes, found 19");
}

TEST_F(Verify, parameterOverflows) {
  param(0).bytes_per_dim = UINT64_MAX / 4;
  EXPECT_EQ(error(), inCommand +
                         "argument 0 'ids': has more than 2^64 bytes at "
                         "8 tokens");
  param(0).bytes_per_dim = 4;
  param(0).fixed_bytes = UINT64_MAX - 31;
  EXPECT_EQ(error(), inCommand +
                         "argument 0 'ids': has more than 2^64 bytes at "
                         "8 tokens");
}

TEST_F(Verify, writtenArgumentOverlaps) {
  arg(1).size = 65; // only read up to here
  arg(0).size = 65;
  EXPECT_EQ(error(), inCommand + "argument 6 'out' overlaps argument 1 "
                                 "'offsets'");
  arg(1).size = 20; // both read: may overlap
  EXPECT_EQ(error(), "");
  param(0).access = Access::read_write;
  EXPECT_EQ(error(), inCommand + "argument 1 'offsets' overlaps argument 0 "
                                 "'ids'");
}

TEST_F(Verify, inputOfAProgramThatSamplesIsWritten) {
  program().inputs[0]->offset = arg(6).offset;
  EXPECT_EQ(error(), "");
  program().inputs[1]->name = "random";
  EXPECT_EQ(error(), inCommand + "argument 6 'out': is written over input "
                                 "'ids' of a program that samples");
}

TEST_F(Verify, overlapBehindAShorterRange) {
  // ids [0, 320) is read, offsets [64, 84) is read, out at 128 is written.
  arg(0).size = 320;
  EXPECT_EQ(error(), inCommand + "argument 6 'out' overlaps argument 0 'ids'");
}

TEST_F(Verify, stateArgument) {
  arg(5).index = 2;
  EXPECT_EQ(error(), inCommand + "argument 5 'ssm': state 2 is none of the 2");
  arg(5).index = 0;
  EXPECT_EQ(error(), inCommand +
                         "argument 5 'ssm': expected at least 128 bytes, "
                         "found 60");
}

TEST_F(Verify, stateGivenTwice) {
  kernel().params.push_back(
      makeParam("again", Access::read, DType::f32, Dim::slots, 0, 128));
  command().args.push_back(makeArg(ArgKind::state, 1));
  EXPECT_EQ(error(),
            inCommand + "argument 7 'again' overlaps argument 5 'ssm'");
}

TEST_F(Verify, weightArgument) {
  arg(4).index = 3;
  EXPECT_EQ(error(),
            inCommand + "argument 4 'norm': weight 3 is none of the 3");
  arg(4).index = 1;
  EXPECT_EQ(error(), inCommand +
                         "argument 4 'norm': expected f32[33] row_major "
                         "0 led by none, weight 'layer0::w.zeros' is "
                         "i32[17, 33] zeros 16");
  arg(4).index = 2;
  param(4).access = Access::read_write;
  EXPECT_EQ(error(),
            inCommand + "argument 4 'norm': weight 'norm' would be written");
  param(4).access = Access::read;
  param(4).fixed_bytes = 136;
  EXPECT_EQ(error(), inCommand +
                         "argument 4 'norm': expected 136 bytes, weight "
                         "'norm' has 132");
  param(4).dim = Dim::tokens;
  EXPECT_NE(error().find("led by tokens"), std::string::npos);
}

TEST_F(Verify, weightOfAnotherLayoutOrShape) {
  param(2).layout->rows = 32;
  EXPECT_NE(
      error().find("expected bits[17, 33] bit_tile 32 led by none, weight "
                   "'layer0::w' is bits[17, 33] bit_tile 16"),
      std::string::npos);
  param(2).layout->rows = 16;
  param(2).shape = {17, 32};
  EXPECT_NE(error().find("expected bits[17, 32] bit_tile 16 led by none"),
            std::string::npos);
  param(2).shape = {17, 33};
  param(3).shape = {16, 33};
  EXPECT_NE(error().find("expected i32[16, 33] zeros 16 led by none"),
            std::string::npos);
}

//===-----------------------------------------------------------------===//
// Targets
//===-----------------------------------------------------------------===//

TEST_F(Verify, targetWithoutImage) {
  target().images.clear();
  EXPECT_EQ(error(), inTarget + "has no image");
}

TEST_F(Verify, image) {
  target().images[0]->kind = ImageKind(9);
  EXPECT_EQ(error(), inTarget + "image 0: unknown kind of image 9");
  target().images[0]->kind = ImageKind::elf;
  target().images[0]->section = -1;
  EXPECT_EQ(error(), inTarget + "image 0: section -1 is none of the 4");
}

TEST_F(Verify, numberOfKernels) {
  target().kernels.clear();
  EXPECT_EQ(error(), inTarget + "expected code of 1 kernels, found 0");
}

TEST_F(Verify, kernelWithoutPhase) {
  target().kernels[0]->phases.clear();
  EXPECT_EQ(error(),
            inTarget + "code of kernel 0 'linear_17x33': has no phase");
}

TEST_F(Verify, phaseWithCondition) {
  phase().when = std::make_unique<ConditionT>();
  phase().when->dim = Dim::tokens;
  phase().when->high = 8;
  EXPECT_EQ(error(), inPhase + "has a condition, but the file does not require "
                               "feature 'conditions'");
  draft.require(kConditionsFeature);
  draft.require(kConditionsFeature);
  EXPECT_EQ(index().required_features.size(), 1u);
  EXPECT_EQ(error(), "");
  phase().when->less = Dim::slots;
  EXPECT_EQ(error(), inPhase + "the condition depends on slots");
  phase().when->less = Dim(9);
  EXPECT_EQ(error().substr(0, inPhase.size()), inPhase);
}

TEST_F(Verify, phaseWithoutSymbol) {
  phase().symbol = "";
  EXPECT_EQ(error(), inTarget +
                         "code of kernel 0 'linear_17x33': phase 0 '': has "
                         "no symbol");
}

TEST_F(Verify, grid) {
  phase().grid[0]->divisor = 0;
  EXPECT_EQ(error(), inPhase + "the grid divides by 0");
  phase().grid[0]->divisor = 1;
  phase().grid[0]->dim = Dim::slots;
  EXPECT_EQ(error(), inPhase + "the grid depends on slots");
  phase().grid[0]->dim = Dim(9);
  EXPECT_EQ(error(), inPhase + "unknown dimension 9");
  phase().grid[0]->dim = Dim::none;
  phase().grid[0]->extent = UINT64_MAX;
  EXPECT_EQ(error(), inPhase + "the grid has more than 2^63 tiles");
  phase().grid[0]->extent = 1ull << 62;
  auto term = std::make_unique<GridTermT>();
  term->dim = Dim::tokens;
  term->divisor = 3;
  phase().grid.push_back(std::move(term));
  EXPECT_EQ(error(), inPhase + "the grid has more than 2^63 tiles");
  phase().grid.clear();
  EXPECT_EQ(error(), "");
}

TEST_F(Verify, cluster) {
  auto refusal = [&](uint32_t cluster) {
    return inPhase +
           "the grid's last term is no constant multiple of a cluster of " +
           std::to_string(cluster) + " blocks";
  };
  std::string refused = refusal(2);
  phase().resources = std::make_unique<ResourcesT>();
  phase().resources->cluster = 2;
  auto &grid = phase().grid;
  grid.clear();
  EXPECT_EQ(error(), refused);
  for (auto [dim, extent] :
       {std::pair(Dim::none, 7), {Dim::tokens, 0}, {Dim::none, 8}}) {
    auto term = std::make_unique<GridTermT>();
    term->dim = dim;
    term->extent = extent;
    term->divisor = 2;
    grid.push_back(std::move(term));
    bool isMultiple = dim == Dim::none; // 4 each
    EXPECT_EQ(error(), isMultiple ? "" : refused);
  }
  for (uint32_t cluster : {3u, UINT32_MAX}) {
    phase().resources->cluster = cluster;
    EXPECT_EQ(error(), refusal(cluster));
  }
  phase().resources->cluster = 1;
  EXPECT_EQ(error(), "");
}

} // namespace
