"""The messages and services of the API as `proto/schema` has them, written by grpcio-tools: `stubs` writes them anew.

For what `Memory` has no call for: `NodeServiceStub(memory.channel)`, with `metadata=memory.metadata` in each call.
"""
