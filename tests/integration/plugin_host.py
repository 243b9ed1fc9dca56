"""Loads the Fluent Bit plugin as Fluent Bit does, in a process of its own: commands in, answers out, one JSON a line.

Runs as ``python plugin_host.py LIBRARY`` and needs nothing but the standard library. Commands: ``["init", properties]``
opens an instance and answers its number; ``["flush", number, chunk, tag]`` (the chunk in base64) answers what the
plugin says, ``flush_together`` the same of several at once; ``["exit", number]`` closes it. The end of the input closes
all that are open, and unloads the library.
"""

import _ctypes  # the only way to close a library
import base64
import ctypes
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any


class Definition(ctypes.Structure):
    # the two newest fields are Fluent Bit's to set
    _fields_ = [
        ("type", ctypes.c_int),
        ("proxy", ctypes.c_int),
        ("flags", ctypes.c_int),
        ("name", ctypes.c_void_p),
        ("description", ctypes.c_void_p),
        ("event_type", ctypes.c_int),
        ("config_map", ctypes.c_void_p),
    ]


GetProperty = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
LogPrint = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p)
LogCheck = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)


class Api(ctypes.Structure):
    _fields_ = [
        ("output_get_property", GetProperty),
        ("input_get_property", ctypes.c_void_p),
        ("output_get_cmt_instance", ctypes.c_void_p),
        ("input_get_cmt_instance", ctypes.c_void_p),
        ("log_print", LogPrint),
        ("input_log_check", ctypes.c_void_p),
        ("output_log_check", LogCheck),
    ]


class Context(ctypes.Structure):
    _fields_ = [("remote_context", ctypes.c_void_p), ("proxy", ctypes.c_void_p)]


class Plugin(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("api", ctypes.POINTER(Api)),
        ("output", ctypes.c_void_p),
        ("context", ctypes.POINTER(Context)),
    ]


class Host:
    """Fluent Bit, as far as an output plugin sees it."""

    def __init__(self, path: str) -> None:
        self.library = ctypes.CDLL(path)
        self.library.FLBPluginFlushCtx.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p]
        self.library.FLBPluginExitCtx.argtypes = [ctypes.c_void_p]
        self.log: list[str] = []
        self.properties: list[dict[str, ctypes.Array[ctypes.c_char]]] = []
        self.contexts: list[Context] = []
        self.api = Api(
            output_get_property=GetProperty(self._property),
            log_print=LogPrint(lambda level, file, line, form, text: self.log.append(text.decode(errors="replace"))),
            output_log_check=LogCheck(lambda output, level: 1),
        )
        self.definition = Definition()
        if self.library.FLBPluginRegister(ctypes.byref(self.definition)) != 0:
            raise RuntimeError("not registered")

    def _property(self, name: bytes, output: int) -> int | None:
        found = self.properties[output - 1].get(name.decode())
        return None if found is None else ctypes.addressof(found)

    def init(self, properties: dict[str, str]) -> Any:
        texts = {name: ctypes.create_string_buffer(value.encode()) for name, value in properties.items()}
        self.properties.append(texts)
        self.contexts.append(Context())
        plugin = Plugin(
            name=b"deeplog",
            api=ctypes.pointer(self.api),
            output=len(self.properties),
            context=ctypes.pointer(self.contexts[-1]),
        )
        code = self.library.FLBPluginInit(ctypes.byref(plugin))
        return {"code": code, "instance": len(self.contexts) - 1}

    def flush(self, number: int, chunk: str, tag: str) -> Any:
        data = base64.b64decode(chunk)
        return self.library.FLBPluginFlushCtx(self.contexts[number].remote_context, data, len(data), tag.encode())

    def flush_together(self, number: int, chunks: list[str], tag: str) -> Any:
        with ThreadPoolExecutor(len(chunks)) as threads:
            return list(threads.map(lambda chunk: self.flush(number, chunk, tag), chunks))

    def exit(self, number: int) -> Any:
        code = self.library.FLBPluginExitCtx(self.contexts[number].remote_context)
        self.contexts[number].remote_context = None
        return code

    def unload(self) -> None:
        for number, context in enumerate(self.contexts):
            if context.remote_context is not None:
                self.exit(number)
        self.library.FLBPluginUnregister(ctypes.byref(self.definition))
        _ctypes.dlclose(self.library._handle)


def main() -> None:
    host = Host(sys.argv[1])
    registered = {name: getattr(host.definition, name) for name in ("type", "proxy", "flags", "event_type")}
    print(json.dumps({"answer": registered, "log": []}), flush=True)
    for line in sys.stdin:
        command, *arguments = json.loads(line)
        answer = getattr(host, command)(*arguments)
        print(json.dumps({"answer": answer, "log": host.log}), flush=True)
        host.log = []
    host.unload()


if __name__ == "__main__":
    main()
