//===- Writer.cpp - writes artifacts -----------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===-----------------------------------------------------------------===//

#include "runtime/artifact/Writer.h"

#include "runtime/Error.h"
#include "runtime/artifact/Format.h"
#include "runtime/artifact/Hash.h"
#include "runtime/artifact/TemporaryFile.h"

#include <algorithm>
#include <cstring>

namespace mambit::artifact {
namespace {

/// Collects a section's bytes into large writes and into its checksum.
class SectionSink : public Sink {
public:
  SectionSink(TemporaryFile &file, uint64_t offset)
      : file(file), offset(offset) {
    buffer.reserve(kCapacity);
  }

  void write(const void *data, size_t size) override {
    checksum.update(data, size);
    total += size;
    if (size > kCapacity - buffer.size())
      flush();
    if (size >= kCapacity) {
      file.writeAt(offset, data, size);
      offset += size;
      return;
    }
    const char *bytes = static_cast<const char *>(data);
    buffer.insert(buffer.end(), bytes, bytes + size);
  }

  void finish(SectionT &section) {
    flush();
    section.size = total;
    section.checksum = checksum.value();
  }

private:
  static constexpr size_t kCapacity = size_t(1) << 20;

  void flush() {
    file.writeAt(offset, buffer.data(), buffer.size());
    offset += buffer.size();
    buffer.clear();
  }

  TemporaryFile &file;
  uint64_t offset;
  uint64_t total = 0;
  Checksum checksum;
  std::vector<char> buffer;
};

/// The index as bytes. Their number does not depend on the values of scalars.
flatbuffers::DetachedBuffer serialize(const IndexT &index) {
  flatbuffers::FlatBufferBuilder builder;
  builder.ForceDefaults(true);
  builder.Finish(Index::Pack(builder, &index));
  return builder.Release();
}

} // namespace

int32_t Draft::addSection(std::string name, Payload payload) {
  auto section = std::make_unique<SectionT>();
  section->name = std::move(name);
  index.sections.push_back(std::move(section));
  payloads.push_back(std::move(payload));
  return int32_t(payloads.size() - 1);
}

int32_t Draft::addSection(std::string name, std::vector<uint8_t> bytes) {
  return addSection(std::move(name), [bytes = std::move(bytes)](Sink &sink) {
    sink.write(bytes.data(), bytes.size());
  });
}

void Draft::require(const char *feature) {
  std::vector<std::string> &features = index.required_features;
  if (std::find(features.begin(), features.end(), feature) == features.end())
    features.push_back(feature);
}

Draft Draft::fromArtifact(const Artifact &artifact) {
  Draft draft;
  artifact.index().UnPackTo(&draft.index);
  for (size_t i = 0; i < draft.index.sections.size(); ++i)
    draft.payloads.push_back([bytes = artifact.section(i)](Sink &sink) {
      sink.write(bytes.data, bytes.size);
    });
  return draft;
}

void write(Draft &draft, const std::string &path) {
  IndexT &index = draft.index;
  if (draft.payloads.size() != index.sections.size())
    fail(path, ": ", index.sections.size(), " sections, but ",
         draft.payloads.size(), " payloads");
  std::vector<uint64_t> alignments(index.sections.size(), kSectionAlignment);
  for (const auto &device : index.devices)
    for (const auto &target : device->targets)
      for (const auto &image : target->images)
        if (image->section >= 0 && size_t(image->section) < alignments.size())
          alignments[image->section] = kCodeAlignment;

  TemporaryFile file(path);
  Header header{};
  std::memcpy(header.magic, kMagic, sizeof(kMagic));
  header.major = kMajorVersion;
  header.minor = kMinorVersion;
  header.indexOffset = sizeof(Header);
  header.indexSize = serialize(index).size();

  // The sections first and the header last, so that a file that was left
  // half-way does not open.
  uint64_t end = header.indexOffset + header.indexSize;
  for (size_t i = 0; i < index.sections.size(); ++i) {
    SectionT &section = *index.sections[i];
    section.offset = alignTo(end, alignments[i]);
    SectionSink sink(file, section.offset);
    draft.payloads[i](sink);
    sink.finish(section);
    end = section.offset + section.size;
  }
  flatbuffers::DetachedBuffer bytes = serialize(index);
  if (bytes.size() != header.indexSize)
    fail(path, ": the index grew from ", header.indexSize, " to ", bytes.size(),
         " bytes");
  header.fileSize = end;
  header.indexChecksum = checksum(bytes.data(), bytes.size());
  header.headerChecksum = checksum(&header, offsetof(Header, headerChecksum));
  file.writeAt(header.indexOffset, bytes.data(), bytes.size());
  file.writeAt(0, &header, sizeof(header));
  file.truncate(end);
  MappedFile written(file.temporaryPath());
  try {
    verify(written.bytes().data, written.bytes().size);
  } catch (const Error &error) {
    fail(path, ": not written: ", error.what());
  }
  file.commit();
}

} // namespace mambit::artifact
