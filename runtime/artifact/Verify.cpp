//===- Verify.cpp - checks an artifact before it is trusted *- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//
//
// Everything in the file is untrusted until it has been checked here. Sums and
// products that could overflow are avoided (`a > available - b`) or checked.
//
//===-----------------------------------------------------------------===//

#include "runtime/artifact/Verify.h"

#include "runtime/Error.h"
#include "runtime/artifact/Format.h"
#include "runtime/artifact/Hash.h"
#include "runtime/artifact/Layout.h"
#include "runtime/artifact/Recipe.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <set>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

namespace mambit::artifact {

template <typename T>
using TableVector = flatbuffers::Vector<flatbuffers::Offset<T>>;
using String = flatbuffers::String;

/// Enumerators may come from a newer minor version.
template <typename Enum>
static void checkEnum(Enum value, Enum max, const char *what) {
  if (value > max)
    fail("unknown ", what, " ", unsigned(value));
}

//===-----------------------------------------------------------------===//
// Structure
//===-----------------------------------------------------------------===//

static const Index &verifyHeader(const uint8_t *data, size_t size) {
  size_t magicSize = std::min(size, sizeof(kMagic));
  if (size == 0)
    fail("the file is empty");
  if (std::memcmp(data, kMagic, magicSize) != 0)
    fail("not a Mambit artifact");
  if (size < sizeof(Header))
    fail("truncated: the header has ", sizeof(Header), " bytes, the file ",
         size);
  Header header;
  std::memcpy(&header, data, sizeof(header));
  if (header.major != kMajorVersion)
    fail("format version ", header.major, ".", header.minor,
         header.major > kMajorVersion ? " is newer than" : " is older than",
         " what this program reads, ", kMajorVersion, ".x");
  if (checksum(data, offsetof(Header, headerChecksum)) != header.headerChecksum)
    fail("damaged: the header's checksum does not match");
  if (size < header.fileSize)
    fail("truncated: expected ", header.fileSize, " bytes, found ", size);
  if (size > header.fileSize)
    fail("damaged: expected ", header.fileSize, " bytes, found ", size);
  if (header.reserved != 0 || header.reserved2 != 0)
    fail("reserved fields of the header are not 0");
  if (header.indexOffset != sizeof(Header))
    fail("the index begins at byte ", header.indexOffset, ", expected ",
         sizeof(Header));
  if (header.indexSize > size - sizeof(Header))
    fail("the index of ", header.indexSize, " bytes reaches beyond the file");

  if (header.indexSize >= FLATBUFFERS_MAX_BUFFER_SIZE)
    fail("the index of ", header.indexSize, " bytes is too large");

  const uint8_t *index = data + sizeof(Header);
  if (checksum(index, header.indexSize) != header.indexChecksum)
    fail("damaged: the index's checksum does not match");
  // No more tables than the bytes have room for: shared ones would let a small
  // file cost a lot.
  flatbuffers::Verifier verifier(index, header.indexSize, /*max_depth=*/16,
                                 /*max_tables=*/header.indexSize / 4);
  if (!verifier.VerifyBuffer<Index>())
    fail("the index is not a well-formed FlatBuffer");
  return *flatbuffers::GetRoot<Index>(index);
}

/// Sections lie in order, aligned, with nothing but zeros between them, up to
/// the end of the file.
static void verifySections(const Index &index, const uint8_t *data,
                           size_t size) {
  Header header;
  std::memcpy(&header, data, sizeof(header));
  uint64_t end = header.indexOffset + header.indexSize;
  for (size_t i = 0; i < index.sections()->size(); ++i) {
    const Section &section = *index.sections()->Get(i);
    auto where = [&] {
      return "section " + std::to_string(i) + " '" + section.name()->str() +
             "'";
    };
    if (section.offset() < end)
      fail(where(), " begins at byte ", section.offset(),
           ", before what precedes it ends at ", end);
    if (section.offset() > size || section.size() > size - section.offset())
      fail(where(), " of ", section.size(), " bytes at ", section.offset(),
           " reaches beyond the file of ", size, " bytes");
    if (section.offset() % kSectionAlignment != 0)
      fail(where(), " at byte ", section.offset(), " is not aligned to ",
           kSectionAlignment);
    if (std::any_of(data + end, data + section.offset(),
                    [](uint8_t byte) { return byte != 0; }))
      fail("damaged: the padding before ", where(), " is not 0");
    end = section.offset() + section.size();
  }
  if (end != size)
    fail("the last section ends at byte ", end, ", the file at ", size);
}

static void verifyChecksums(const Index &index, const uint8_t *data,
                            const VerifyOptions &options) {
  const TableVector<Section> &sections = *index.sections();
  std::vector<bool> isWeight(sections.size());
  for (const Weight *weight : *index.weights())
    if (weight->section() >= 0 && size_t(weight->section()) < sections.size())
      isWeight[weight->section()] = true;

  std::vector<size_t> jobs;
  uint64_t bytes = 0;
  for (size_t i = 0; i < sections.size(); ++i) {
    if (isWeight[i] && !options.weightChecksums)
      continue;
    jobs.push_back(i);
    bytes += sections.Get(i)->size();
  }
  // The largest first, so that the threads end together.
  std::sort(jobs.begin(), jobs.end(), [&](size_t a, size_t b) {
    return sections.Get(a)->size() > sections.Get(b)->size();
  });

  std::atomic<size_t> next{0};
  std::atomic<size_t> damaged{sections.size()};
  auto work = [&] {
    for (size_t job; (job = next++) < jobs.size();) {
      const Section &section = *sections.Get(jobs[job]);
      if (checksum(data + section.offset(), section.size()) ==
          section.checksum())
        continue;
      size_t first = damaged;
      while (jobs[job] < first &&
             !damaged.compare_exchange_weak(first, jobs[job])) {
      }
    }
  };
  // A thread for each 16 MB; starting one costs what hashing 1 MB does.
  size_t count =
      std::min<uint64_t>({bytes >> 24, jobs.size(),
                          std::min(std::thread::hardware_concurrency(), 8u)});
  std::vector<std::thread> threads;
  for (size_t i = 1; i < count; ++i)
    threads.emplace_back(work);
  work();
  for (std::thread &thread : threads)
    thread.join();
  if (damaged < sections.size())
    fail("damaged: the checksum of section ", damaged, " '",
         sections.Get(damaged)->name()->str(), "' does not match");
}

//===-----------------------------------------------------------------===//
// Meaning
//===-----------------------------------------------------------------===//

/// FlatBuffers does not check the alignment of a vector's elements.
static void checkShape(const flatbuffers::Vector<uint64_t> *shape) {
  if (shape &&
      reinterpret_cast<uintptr_t>(shape->Data()) % alignof(uint64_t) != 0)
    fail("the shape is not aligned");
}

/// Adds where it happened to the message of an error.
template <typename Function>
static void within(const char *what, size_t number, const String *name,
                   Function check) {
  try {
    check();
  } catch (const Error &error) {
    std::string label = name ? " '" + name->str() + "'" : std::string();
    fail(what, " ", number, label, ": ", error.what());
  }
}

/// Calls `check` on each element, errors labelled by number and name.
template <typename T, typename Function>
static void forEach(const char *what, const TableVector<T> *elements,
                    Function check) {
  for (size_t i = 0; elements && i < elements->size(); ++i) {
    const T *element = elements->Get(i);
    within(what, i, element->name(), [&] { check(*element, i); });
  }
}

namespace {

/// Names of things that are referred to by name.
class UniqueNames {
public:
  void add(const String *name) {
    if (name->size() == 0)
      fail("has no name");
    if (!names.insert(name->str()).second)
      fail("the name is not unique");
  }

private:
  std::set<std::string> names;
};

class SemanticVerifier {
public:
  SemanticVerifier(const Index &index, const uint8_t *data)
      : index(index), data(data), usedSections(index.sections()->size()) {}

  void verify() {
    if (const auto *features = index.required_features())
      for (const String *feature : *features)
        if (feature->str() != kConditionsFeature)
          fail("needs feature '", feature->str(),
               "', which this program does not know");
    verifyWeights();
    if (const Tokenizer *tokenizer = index.tokenizer())
      within("tokenizer", 0, tokenizer->kind(),
             [&] { useSection(tokenizer->section(), kSectionAlignment); });
    UniqueNames kinds;
    for (size_t i = 0; i < index.devices()->size(); ++i) {
      const Device &device = *index.devices()->Get(i);
      within("device", i, device.kind(), [&] {
        kinds.add(device.kind());
        verifyDevice(device);
      });
    }
  }

private:
  struct Range {
    uint64_t begin, end;
    size_t number;
    bool written;
  };

  /// The greatest values of the dynamic extents.
  struct Capacity {
    uint64_t tokens = 0, sequences = 0, rows = 0;

    uint64_t of(Dim dim) const {
      switch (dim) {
      case Dim::tokens:
        return tokens;
      case Dim::sequences:
        return sequences;
      case Dim::rows:
        return rows;
      default:
        return 0;
      }
    }
  };

  const Section &useSection(int64_t section, uint64_t alignment) {
    if (section < 0 || uint64_t(section) >= usedSections.size())
      fail("section ", section, " is none of the ", usedSections.size());
    if (usedSections[section])
      fail("section ", section, " belongs to something else already");
    usedSections[section] = true;
    const Section &result = *index.sections()->Get(section);
    if (result.offset() % alignment != 0)
      fail("section ", section, " at byte ", result.offset(),
           " is not aligned to ", alignment);
    return result;
  }

  void verifyWeights() {
    UniqueNames names;
    size_t attached = 0;
    forEach("weight", index.weights(), [&](const Weight &weight, size_t) {
      names.add(weight.name());
      checkShape(weight.shape());
      for (const Source *source : *weight.sources())
        checkShape(source->shape());
      WeightT unpacked;
      weight.UnPackTo(&unpacked);
      verifyRecipe(unpacked);
      if (weight.section() == -1)
        return;
      ++attached;
      const Section &section = useSection(weight.section(), kSectionAlignment);
      LayoutT layout = layoutOf(weight.layout());
      uint64_t bytes =
          layoutBytes(weight.dtype(), unpacked.shape, layout.kind, layout.rows);
      if (layout.kind == LayoutKind::zeros)
        verifyZeros(section, unpacked.shape, layout.rows, bytes);
      else if (section.size() != bytes)
        fail("expected ", bytes, " bytes, section ", weight.section(), " has ",
             section.size());
    });
    if (attached != 0 && attached != index.weights()->size())
      fail("only ", attached, " of ", index.weights()->size(),
           " weights are attached");
  }

  void verifyZeros(const Section &section, const Shape &shape, uint64_t rows,
                   uint64_t emptyBytes) {
    if (section.size() < emptyBytes)
      fail("expected at least ", emptyBytes, " bytes, found ", section.size());
    uint64_t tiles = emptyBytes / 4 - 1;
    uint64_t pairBytes = section.size() - emptyBytes;
    if (pairBytes % 8 != 0)
      fail("the list of zeros ends inside an entry");
    uint64_t total = pairBytes / 8;
    const int32_t *start =
        reinterpret_cast<const int32_t *>(data + section.offset());
    const int32_t *pairs = start + tiles + 1;
    if (start[0] != 0)
      fail("the entries of tile 0 start at ", start[0], ", expected 0");
    if (start[tiles] < 0 || uint64_t(start[tiles]) != total)
      fail("the list of zeros declares ", start[tiles], " entries, holds ",
           total);
    for (uint64_t tile = 0; tile < tiles; ++tile) {
      if (start[tile + 1] < start[tile] || uint64_t(start[tile + 1]) > total)
        fail("the entries of tile ", tile, " are from ", start[tile], " to ",
             start[tile + 1], " of ", total);
      uint64_t rowBegin = tile * rows;
      uint64_t rowEnd = std::min(rowBegin + rows, shape[0]);
      for (int32_t entry = start[tile]; entry < start[tile + 1]; ++entry) {
        const int32_t *pair = pairs + uint64_t(entry) * 2;
        if (pair[0] < 0 || pair[1] < 0 || uint64_t(pair[0]) < rowBegin ||
            uint64_t(pair[0]) >= rowEnd || uint64_t(pair[1]) >= shape[1])
          fail("zero ", entry, " at (", pair[0], ", ", pair[1],
               ") is not in tile ", tile, " of a ", shape[0], "x", shape[1],
               " matrix");
        if (entry > start[tile] &&
            !(pair[-2] < pair[0] ||
              (pair[-2] == pair[0] && pair[-1] < pair[1])))
          fail("zero ", entry, " at (", pair[0], ", ", pair[1],
               ") is out of order");
      }
    }
  }

  void verifyDevice(const Device &device) {
    verifyStates(device);
    UniqueNames kernels, programs, targets;
    forEach("kernel", device.kernels(), [&](const Kernel &kernel, size_t) {
      kernels.add(kernel.name());
      forEach("parameter", kernel.params(),
              [&](const Param &param, size_t) { verifyParam(param); });
    });
    Capacity greatest;
    forEach("program", device.programs(), [&](const Program &program, size_t) {
      programs.add(program.name());
      verifyProgram(device, program);
      greatest.tokens = std::max(greatest.tokens, program.max_tokens());
      greatest.sequences =
          std::max(greatest.sequences, program.max_sequences());
      greatest.rows = std::max(greatest.rows, program.max_rows());
    });
    if (device.targets()->size() == 0)
      fail("has no target");
    forEach("target", device.targets(), [&](const Target &target, size_t) {
      targets.add(target.name());
      verifyTarget(device, target, greatest);
    });
  }

  void verifyStates(const Device &device) {
    if (device.slot_bytes() % kBufferAlignment != 0 ||
        device.slot_bytes() > uint64_t(INT64_MAX))
      fail("slots of ", device.slot_bytes(), " bytes are not a multiple of ",
           kBufferAlignment);
    UniqueNames names;
    std::vector<Range> ranges;
    forEach("state", device.states(), [&](const State &state, size_t i) {
      names.add(state.name());
      checkRange(state.offset(), state.size(), device.slot_bytes(), "a slot");
      ranges.push_back(
          {state.offset(), state.offset() + state.size(), i, true});
    });
    checkDisjoint(ranges, "state", [&](size_t i) {
      return device.states()->Get(i)->name()->str();
    });
  }

  void verifyParam(const Param &param) {
    checkShape(param.shape());
    checkEnum(param.access(), Access::MAX, "access");
    checkEnum(param.dtype(), DType::MAX, "element type");
    checkEnum(param.dim(), Dim::MAX, "dimension");
    LayoutT layout = layoutOf(param.layout());
    checkEnum(layout.kind, LayoutKind::MAX, "layout");
    if (param.dim() == Dim::none && param.bytes_per_dim() != 0)
      fail("has ", param.bytes_per_dim(),
           " bytes for each unit of no dimension");
    if (param.dim() == Dim::slots && param.fixed_bytes() != 0)
      fail("a state has no fixed bytes, found ", param.fixed_bytes());
  }

  /// Bytes of a parameter or port at full capacity.
  template <typename T>
  uint64_t bytesAtCapacity(const T &buffer, const Capacity &capacity) {
    uint64_t bytes;
    if (__builtin_mul_overflow(buffer.bytes_per_dim(),
                               capacity.of(buffer.dim()), &bytes) ||
        __builtin_add_overflow(bytes, buffer.fixed_bytes(), &bytes))
      fail("has more than 2^64 bytes at ", capacity.of(buffer.dim()), " ",
           EnumNameDim(buffer.dim()));
    return bytes;
  }

  void verifyProgram(const Device &device, const Program &program) {
    Capacity capacity{program.max_tokens(), program.max_sequences(),
                      program.max_rows()};
    for (Dim dim : {Dim::tokens, Dim::sequences, Dim::rows})
      if (capacity.of(dim) == 0 || capacity.of(dim) > INT32_MAX)
        fail("expected a number of ", EnumNameDim(dim),
             " between 1 and 2^31 - 1, found ", capacity.of(dim));
    if (program.arena_size() > uint64_t(INT64_MAX))
      fail("the arena has ", program.arena_size(), " bytes");
    verifyPorts("input", *program.inputs(), program, capacity);
    verifyPorts("output", *program.outputs(), program, capacity);
    for (size_t i = 0; i < program.commands()->size(); ++i)
      within("command", i, nullptr, [&] {
        verifyCommand(device, program, *program.commands()->Get(i), capacity);
      });
  }

  void verifyPorts(const char *what, const TableVector<Port> &ports,
                   const Program &program, const Capacity &capacity) {
    UniqueNames names;
    std::vector<Range> ranges;
    forEach(what, &ports, [&](const Port &port, size_t i) {
      names.add(port.name());
      checkShape(port.shape());
      checkEnum(port.dtype(), DType::MAX, "element type");
      checkEnum(port.dim(), Dim::MAX, "dimension");
      if (port.dim() == Dim::slots)
        fail("a state is no input or output");
      if (port.dim() == Dim::none && port.bytes_per_dim() != 0)
        fail("has ", port.bytes_per_dim(),
             " bytes for each unit of no dimension");
      checkRange(port.offset(), port.size(), program.arena_size(), "the arena");
      checkHolds(port.size(), bytesAtCapacity(port, capacity));
      ranges.push_back({port.offset(), port.offset() + port.size(), i, true});
    });
    checkDisjoint(ranges, what,
                  [&](size_t i) { return ports.Get(i)->name()->str(); });
  }

  void verifyCommand(const Device &device, const Program &program,
                     const Command &command, const Capacity &capacity) {
    if (command.kernel() >= device.kernels()->size())
      fail("kernel ", command.kernel(), " is none of the ",
           device.kernels()->size());
    const Kernel &kernel = *device.kernels()->Get(command.kernel());
    const TableVector<Param> &params = *kernel.params();
    const TableVector<Arg> &args = *command.args();
    if (args.size() != params.size())
      fail("kernel '", kernel.name()->str(), "' has ", params.size(),
           " parameters, found ", args.size(), " arguments");
    std::vector<Range> arenaRanges, states;
    for (size_t i = 0; i < args.size(); ++i) {
      const Param &param = *params.Get(i);
      const Arg &arg = *args.Get(i);
      bool written = param.access() != Access::read;
      within("argument", i, param.name(), [&] {
        checkEnum(arg.kind(), ArgKind::MAX, "kind of argument");
        if ((arg.kind() == ArgKind::state) != (param.dim() == Dim::slots))
          fail("kernel '", kernel.name()->str(), "' expects ",
               param.dim() == Dim::slots ? "a state" : "no state",
               " here, found ", EnumNameArgKind(arg.kind()));
        switch (arg.kind()) {
        case ArgKind::arena:
          checkRange(arg.offset(), arg.size(), program.arena_size(),
                     "the arena");
          checkHolds(arg.size(), bytesAtCapacity(param, capacity));
          arenaRanges.push_back(
              {arg.offset(), arg.offset() + arg.size(), i, written});
          if (written)
            checkKeepsInputs(program, arenaRanges.back());
          break;
        case ArgKind::weight:
          verifyWeightArg(param, arg);
          break;
        case ArgKind::state:
          if (arg.index() >= device.states()->size())
            fail("state ", arg.index(), " is none of the ",
                 device.states()->size());
          checkHolds(device.states()->Get(arg.index())->size(),
                     param.bytes_per_dim());
          states.push_back(
              {arg.index(), uint64_t(arg.index()) + 1, i, written});
          break;
        }
      });
    }
    auto nameOf = [&](size_t i) { return params.Get(i)->name()->str(); };
    checkDisjoint(arenaRanges, "argument", nameOf);
    checkDisjoint(states, "argument", nameOf);
  }

  /// One that samples does, for its runs go on from each other.
  static void checkKeepsInputs(const Program &program, const Range &written) {
    const TableVector<Port> &inputs = *program.inputs();
    if (std::none_of(inputs.begin(), inputs.end(), [](const Port *input) {
          return input->name()->string_view() == "random";
        }))
      return;
    for (const Port *input : inputs)
      if (input->offset() < written.end &&
          written.begin < input->offset() + input->size())
        fail("is written over input '", input->name()->str(),
             "' of a program that samples");
  }

  void verifyWeightArg(const Param &param, const Arg &arg) {
    if (arg.index() >= index.weights()->size())
      fail("weight ", arg.index(), " is none of the ", index.weights()->size());
    const Weight &weight = *index.weights()->Get(arg.index());
    std::string name = weight.name()->str();
    if (param.access() != Access::read)
      fail("weight '", name, "' would be written");
    LayoutT layout = layoutOf(weight.layout());
    Shape shape = shapeOf(weight.shape());
    auto describe = [](DType dtype, const Shape &shape, const LayoutT &layout) {
      std::string text = EnumNameDType(dtype);
      text += '[';
      for (size_t i = 0; i < shape.size(); ++i)
        text += (i ? ", " : "") + std::to_string(shape[i]);
      return text + "] " + EnumNameLayoutKind(layout.kind) + " " +
             std::to_string(layout.rows);
    };
    std::string expected = describe(param.dtype(), shapeOf(param.shape()),
                                    layoutOf(param.layout()));
    std::string found = describe(weight.dtype(), shape, layout);
    if (param.dim() != Dim::none || expected != found)
      fail("expected ", expected, " led by ", EnumNameDim(param.dim()),
           ", weight '", name, "' is ", found);
    uint64_t bytes =
        layoutBytes(weight.dtype(), shape, layout.kind, layout.rows);
    if (param.fixed_bytes() != bytes)
      fail("expected ", param.fixed_bytes(), " bytes, weight '", name, "' has ",
           bytes);
  }

  void verifyTarget(const Device &device, const Target &target,
                    const Capacity &capacity) {
    if (target.images()->size() == 0)
      fail("has no image");
    for (size_t i = 0; i < target.images()->size(); ++i)
      within("image", i, nullptr, [&] {
        const Image &image = *target.images()->Get(i);
        checkEnum(image.kind(), ImageKind::MAX, "kind of image");
        useSection(image.section(), kCodeAlignment);
      });
    if (target.kernels()->size() != device.kernels()->size())
      fail("expected code of ", device.kernels()->size(), " kernels, found ",
           target.kernels()->size());
    for (size_t i = 0; i < target.kernels()->size(); ++i) {
      const KernelCode &code = *target.kernels()->Get(i);
      within("code of kernel", i, device.kernels()->Get(i)->name(), [&] {
        if (code.phases()->size() == 0)
          fail("has no phase");
        for (size_t j = 0; j < code.phases()->size(); ++j)
          within("phase", j, code.phases()->Get(j)->symbol(),
                 [&] { verifyPhase(*code.phases()->Get(j), capacity); });
      });
    }
  }

  bool
    requires(const char *name)
  const {
    const auto *features = index.required_features();
    return features && std::any_of(features->begin(), features->end(),
                                   [&](const String *feature) {
                                     return feature->str() == name;
                                   });
  }

  void verifyPhase(const Phase &phase, const Capacity &capacity) {
    if (phase.symbol()->size() == 0)
      fail("has no symbol");
    if (const Condition *condition = phase.when()) {
      if (!requires(kConditionsFeature))
        fail("has a condition, but the file does not require feature '",
             kConditionsFeature, "'");
      for (Dim dim : {condition->dim(), condition->less()}) {
        checkEnum(dim, Dim::MAX, "dimension");
        if (dim == Dim::slots)
          fail("the condition depends on slots");
      }
    }
    uint64_t cluster = phase.resources() ? phase.resources()->cluster() : 0;
    uint64_t adjacent = phase.grid() ? verifyGrid(*phase.grid(), capacity) : 1;
    if (cluster > 0 && adjacent % cluster != 0)
      fail("the grid's last term is no constant multiple of a cluster of ",
           cluster, " blocks");
  }

  /// Returns its last term, or 1 if that is not constant.
  uint64_t
  verifyGrid(const flatbuffers::Vector<flatbuffers::Offset<GridTerm>> &grid,
             const Capacity &capacity) {
    uint64_t tiles = 1, last = 1;
    for (const GridTerm *term : grid) {
      checkEnum(term->dim(), Dim::MAX, "dimension");
      if (term->dim() == Dim::slots)
        fail("the grid depends on slots");
      if (term->divisor() == 0)
        fail("the grid divides by 0");
      bool isConstant = term->dim() == Dim::none;
      uint64_t extent = isConstant ? term->extent() : capacity.of(term->dim());
      uint64_t factor =
          extent / term->divisor() + (extent % term->divisor() != 0);
      if (__builtin_mul_overflow(tiles, factor, &tiles) ||
          tiles > uint64_t(INT64_MAX))
        fail("the grid has more than 2^63 tiles");
      last = isConstant ? factor : 1;
    }
    return last;
  }

  //===---------------------------------------------------------------===//
  // Ranges
  //===---------------------------------------------------------------===//

  static void checkRange(uint64_t offset, uint64_t size, uint64_t available,
                         const char *of) {
    if (offset > available || size > available - offset)
      fail(size, " bytes at ", offset, " reach beyond ", of, " of ", available,
           " bytes");
    if (offset % kBufferAlignment != 0)
      fail("offset ", offset, " is not aligned to ", kBufferAlignment);
  }

  static void checkHolds(uint64_t size, uint64_t needed) {
    if (size < needed)
      fail("expected at least ", needed, " bytes, found ", size);
  }

  /// Refuses overlaps of which one side is written. Buffers updated in place
  /// are one parameter, read and written.
  template <typename Name>
  static void checkDisjoint(std::vector<Range> ranges, const char *what,
                            Name nameOf) {
    std::sort(ranges.begin(), ranges.end(), [](const Range &a, const Range &b) {
      return std::tie(a.begin, a.end, a.number) <
             std::tie(b.begin, b.end, b.number);
    });
    // Of those so far, what reaches furthest, and what is written and does.
    const Range *furthest = nullptr, *furthestWritten = nullptr;
    for (const Range &range : ranges) {
      if (range.begin == range.end)
        continue;
      const Range *other = range.written ? furthest : furthestWritten;
      if (other && other->end > range.begin)
        fail(what, " ", range.number, " '", nameOf(range.number), "' overlaps ",
             what, " ", other->number, " '", nameOf(other->number), "'");
      if (!furthest || range.end > furthest->end)
        furthest = &range;
      if (range.written &&
          (!furthestWritten || range.end > furthestWritten->end))
        furthestWritten = &range;
    }
  }

  const Index &index;
  const uint8_t *data;
  std::vector<bool> usedSections;
};
} // namespace

const Index &verify(const void *data, size_t size,
                    const VerifyOptions &options) {
  const uint8_t *bytes = static_cast<const uint8_t *>(data);
  const Index &index = verifyHeader(bytes, size);
  verifySections(index, bytes, size);
  verifyChecksums(index, bytes, options);
  SemanticVerifier(index, bytes).verify();
  return index;
}

} // namespace mambit::artifact
