// SPDX-License-Identifier: BSD-2-Clause
#include "proxy/loaded.h"

#include <atomic>
#include <memory>

namespace bulkhead::proxy {
namespace {

struct Node {
  ModuleConfig config;
  std::string file;  // of a module that is not configured
  const Node* next = nullptr;
};

std::atomic<const Node*> first{nullptr};

template <typename Holds>
const Node* find(const Node* node, Holds holds) {
  while (node != nullptr && !holds(*node)) node = node->next;
  return node;
}

}  // namespace

const ModuleConfig* LoadedModules::keep(FoundModule found) {
  auto fresh = std::make_unique<Node>();
  fresh->config = std::move(found.config);
  if (!found.configured) fresh->file = std::move(found.file);
  const std::string base = fresh->config.name;
  for (;;) {
    const Node* head = first.load(std::memory_order_acquire);
    const Node* same = find(head, [&](const Node& node) {
      return found.configured ? node.file.empty() && node.config == fresh->config
                              : node.file == fresh->file;
    });
    if (same != nullptr) return &same->config;
    if (!found.configured) {
      auto taken = [&](const std::string& name) {
        return found.names.contains(name) ||
               find(head, [&](const Node& node) { return node.config.name == name; }) != nullptr;
      };
      std::string name = base;
      for (unsigned n = 2; taken(name); ++n) name = base + ":" + std::to_string(n);
      fresh->config.name = name;
    }
    fresh->next = head;
    if (first.compare_exchange_strong(head, fresh.get(), std::memory_order_acq_rel))
      return &fresh.release()->config;
  }
}

}  // namespace bulkhead::proxy
