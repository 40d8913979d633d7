/** Services from descriptors, without generated code. */
import { readFileSync } from 'node:fs';
import { create, createFileRegistry, fromBinary, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';

export function readRegistry(file) {
  return createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(file)));
}

/** Returns nice-grpc's definition of a service, with the methods that the implementation has. */
export function definitionOf(service, implementation) {
  const methods = service.methods.filter(({ localName }) => localName in implementation);
  return Object.fromEntries(
    methods.map(({ localName, name, input, output, methodKind }) => [
      localName,
      {
        path: `/${service.typeName}/${name}`,
        requestStream: methodKind === 'client_streaming' || methodKind === 'bidi_streaming',
        responseStream: methodKind === 'server_streaming' || methodKind === 'bidi_streaming',
        requestSerialize: (message) => toBinary(input, create(input, message)),
        requestDeserialize: (bytes) => fromBinary(input, bytes),
        responseSerialize: (message) => toBinary(output, create(output, message)),
        responseDeserialize: (bytes) => fromBinary(output, bytes),
        options: {},
      },
    ]),
  );
}
