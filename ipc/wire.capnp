# SPDX-License-Identifier: BSD-2-Clause
#
# What travels between a host, its supervisors and their workers. Both ends are always of one build
# (the first message carries its id), so fields are added and removed freely.

@0xc1a7b3d05e94f862;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("bulkhead::ipc::wire");

# ---- calls: one request and one reply at a time on a channel ----

struct Request {
  function @0 :UInt16;           # position in the catalogue
  values @1 :List(Value);        # one for each role of the function's catalogue line
  areas @2 :UInt32;              # areas sent for this channel so far; the last one is meant
}

struct Reply {
  returnValue @0 :UInt64;        # CK_RV, opaque
  refused @1 :Bool;              # the worker could not make sense of the request: no call was made
  values @2 :List(Value);        # one for each role: null where the module changed nothing
  cpu @3 :UInt16;                # where the worker's thread was last
}

# One argument of a PKCS#11 function. NULL and empty are different things.
struct Value {
  union {
    null @0 :Void;
    number @1 :UInt64;
    bytes @2 :Data;
    room @3 :UInt64;             # a buffer of this many bytes or elements, contents of no interest
    query @4 :UInt64;            # a NULL buffer whose length pointer points to this number
    buffer @5 :Void;             # a buffer whose length pointer is NULL
    numbers @6 :List(UInt64);
    attributes @7 :List(Attribute);
    mechanism @8 :Mechanism;
    parameters @9 :List(Parameter);
    area @10 :Area;              # bytes that lie in the channel's area
    roomInArea @11 :Area;        # room, and what is written to it lies in the channel's area
  }
}

# Bytes in the channel's shared memory in place of the message; see area.h.
struct Area {
  offset @0 :UInt64;
  length @1 :UInt64;
}

struct Attribute {
  type @0 :UInt64;
  length @1 :UInt64;             # ulValueLen
  union {
    null @2 :Void;               # pValue is NULL
    bytes @3 :Data;
    room @4 :Void;               # `length` bytes of room
    nested @5 :List(Attribute);
  }
}

struct Mechanism {
  type @0 :UInt64;
  parameter @1 :Parameter;
}

struct Parameter {
  length @0 :UInt64;             # ulParameterLen
  present @1 :Bool;              # pParameter is not NULL
  shape @2 :UInt16;              # position in the table of shapes; see codec.cpp for flat bytes
  image @3 :Data;                # the struct with its pointers zeroed, or the flat bytes
  fields @4 :List(Value);        # one for each pointer of the struct, in the table's order
}

# ---- control: a host and a supervisor, a host and a worker ----

struct Control {
  union {
    start @0 :Start;             # host to supervisor, first
    policy @1 :Policy;           # supervisor to host: what of the policy concerns the host
    ready @2 :Ready;             # worker to host: the module is initialised
    failed @3 :Failed;           # supervisor or worker to host: there will be no worker
    channel @4 :UInt32;          # host to worker, with one end of a channel: where requests come
                                 # from and where replies go. The number is its name
    stop @5 :Text;               # host to supervisor: end the worker now, and why; "" for the end
    ended @6 :Text;              # supervisor to host: the worker is gone, and how
    log @7 :LogLine;             # host to supervisor: for the log
    closed @8 :Text;             # host to supervisor: what the worker closed; end it unless it dies
    area @9 :UInt32;             # host to worker, with an area for the channel of this number
    confined @10 :Int32;         # worker to supervisor: its listener's number, or -1 for none
  }
}

struct Start {
  build @0 :Text;
  module @1 :Text;               # name of the .module file
  path @2 :Text;
  initReserved @3 :Text;
  hasInitReserved @4 :Bool;
  hostPid @5 :Int32;
  logLevel @6 :Int8;             # -1: nothing on stderr
  restarts @7 :UInt32;
  secure @8 :Bool;               # the host is AT_SECURE: the environment says nothing
}

struct Policy {
  startTimeout @0 :UInt64;       # milliseconds; 0 for none, here and below
  stopTimeout @1 :UInt64;
  callTimeouts @2 :List(UInt64); # one for each function of the catalogue
  startLimitBurst @3 :UInt32;
  startLimitInterval @4 :UInt64;
  maxMessage @5 :UInt64;         # bytes
  flatMechanisms @6 :List(UInt64);
  sharePerConsumer @7 :Bool;
}

struct Ready {
  cryptokiMajor @0 :UInt8;
  cryptokiMinor @1 :UInt8;
  functions @2 :List(Bool);      # which functions of the catalogue the module has
  canWait @3 :Bool;
}

struct Failed {
  reason @0 :Text;
  returnValue @1 :UInt64;        # what C_Initialize answers where the module is critical
}

struct LogLine {
  level @0 :Int8;
  text @1 :Text;
}
