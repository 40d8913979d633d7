/**
 * Serves reflection as grpc.reflection.v1 and as v1alpha, which ghz and Python's client use. Both versions have the
 * same messages.
 */
import {
  create,
  createFileRegistry,
  type DescEnum,
  type DescMessage,
  type FileRegistry,
  fromBinary,
  toBinary,
} from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { type ServiceImplementation, Status } from 'nice-grpc';
import { int32, message, shape, text } from './message-reader.js';
import { beginMessage, encodeWith, endMessage, putBytes, putNumber, putSigned, putText } from './message-writer.js';
import { systemFiles } from './system-descriptors.js';
import { wireMethod } from './wire-definition.js';

export const reflectionServiceNames = [
  'grpc.reflection.v1.ServerReflection',
  'grpc.reflection.v1alpha.ServerReflection',
] as const;

interface ExtensionRequest {
  containingType: string;
  extensionNumber: number;
}

// All fields except `host` belong to one oneof, so a client sets only one of them.
interface ReflectionRequest {
  host: string;
  fileByFilename: string | undefined;
  fileContainingSymbol: string | undefined;
  fileContainingExtension: ExtensionRequest | undefined;
  allExtensionNumbersOfType: string | undefined;
  listServices: string | undefined;
}

type Result =
  | { readonly kind: 'file'; readonly bytes: Uint8Array }
  | { readonly kind: 'extensions'; readonly type: string; readonly numbers: readonly number[] }
  | { readonly kind: 'services'; readonly names: readonly string[] }
  | { readonly kind: 'error'; readonly code: Status; readonly text: string };

interface ReflectionResponse {
  readonly request: ReflectionRequest;
  readonly result: Result;
}

const extensionRequest = shape(
  (): ExtensionRequest => ({ containingType: '', extensionNumber: 0 }),
  text(1, 'containingType'),
  int32(2, 'extensionNumber'),
);

const reflectionRequest = shape(
  (): ReflectionRequest => ({
    host: '',
    fileByFilename: undefined,
    fileContainingSymbol: undefined,
    fileContainingExtension: undefined,
    allExtensionNumbersOfType: undefined,
    listServices: undefined,
  }),
  text(1, 'host'),
  text(3, 'fileByFilename'),
  text(4, 'fileContainingSymbol'),
  message(5, 'fileContainingExtension', extensionRequest),
  text(6, 'allExtensionNumbersOfType'),
  text(7, 'listServices'),
);

function writeResponse({ request, result }: ReflectionResponse): void {
  if (request.host !== '') putText(1, request.host);
  const original = beginMessage(2);
  writeRequest(request);
  endMessage(original);
  switch (result.kind) {
    case 'file': {
      const files = beginMessage(4);
      putBytes(1, result.bytes);
      endMessage(files);
      return;
    }
    case 'extensions': {
      const extensions = beginMessage(5);
      putText(1, result.type);
      for (const number of result.numbers) putNumber(2, number);
      endMessage(extensions);
      return;
    }
    case 'services': {
      const services = beginMessage(6);
      for (const name of result.names) {
        const service = beginMessage(1);
        putText(1, name);
        endMessage(service);
      }
      endMessage(services);
      return;
    }
    case 'error': {
      const error = beginMessage(7);
      putNumber(1, result.code);
      putText(2, result.text);
      endMessage(error);
    }
  }
}

function writeRequest(request: ReflectionRequest): void {
  if (request.host !== '') putText(1, request.host);
  if (request.fileByFilename !== undefined) putText(3, request.fileByFilename);
  if (request.fileContainingSymbol !== undefined) putText(4, request.fileContainingSymbol);
  if (request.fileContainingExtension !== undefined) {
    const extension = beginMessage(5);
    putText(1, request.fileContainingExtension.containingType);
    putSigned(2, request.fileContainingExtension.extensionNumber);
    endMessage(extension);
  }
  if (request.allExtensionNumbersOfType !== undefined) putText(6, request.allExtensionNumbersOfType);
  if (request.listServices !== undefined) putText(7, request.listServices);
}

/** One definition for each version, in the order of reflectionServiceNames. */
export const reflectionServiceDefinitions = reflectionServiceNames.map((name) => ({
  serverReflectionInfo: wireMethod({
    path: `/${name}/ServerReflectionInfo`,
    request: reflectionRequest,
    encode: (response: ReflectionResponse) => encodeWith(writeResponse, response),
    requestStream: true,
    responseStream: true,
  }),
}));

type ReflectionServiceDefinition = (typeof reflectionServiceDefinitions)[number];

/** `descriptors` is a FileDescriptorSet with all imports, except those of health and reflection. */
export function createReflectionService(
  descriptors: Uint8Array,
  serviceNames: readonly string[],
): ServiceImplementation<ReflectionServiceDefinition> {
  const { file } = fromBinary(FileDescriptorSetSchema, descriptors);
  const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: [...file, ...systemFiles] }));
  const files = new Map<string, Uint8Array>();
  for (const { proto } of registry.files) files.set(proto.name, toBinary(FileDescriptorProtoSchema, proto));
  const fileOfSymbol = indexSymbols(registry);
  const notFound = (what: string): Result => ({
    kind: 'error',
    code: Status.NOT_FOUND,
    text: `The server has no ${what} of this name.`,
  });
  const fileResult = (name: string | undefined, what: string): Result => {
    const bytes = name === undefined ? undefined : files.get(name);
    return bytes === undefined ? notFound(what) : { kind: 'file', bytes };
  };

  function lookUp(request: ReflectionRequest): Result {
    if (request.listServices !== undefined) return { kind: 'services', names: serviceNames };
    if (request.fileByFilename !== undefined) return fileResult(request.fileByFilename, 'file');
    if (request.fileContainingSymbol !== undefined)
      return fileResult(fileOfSymbol.get(request.fileContainingSymbol), 'symbol');
    if (request.fileContainingExtension !== undefined) {
      const { containingType, extensionNumber } = request.fileContainingExtension;
      const type = registry.getMessage(containingType);
      const extension = type && registry.getExtensionFor(type, extensionNumber);
      return fileResult(extension?.file.proto.name, 'extension');
    }
    const type = request.allExtensionNumbersOfType;
    if (type !== undefined) {
      if (registry.getMessage(type) === undefined) return notFound('message type');
      const extensions = [...registry].filter((desc) => desc.kind === 'extension');
      const ofType = extensions.filter(({ extendee }) => extendee.typeName === type);
      return { kind: 'extensions', type, numbers: ofType.map(({ number }) => number) };
    }
    return { kind: 'error', code: Status.INVALID_ARGUMENT, text: 'The request is empty. Set message_request.' };
  }

  return {
    async *serverReflectionInfo(requests) {
      for await (const request of requests) yield { request, result: lookUp(request) };
    },
  };
}

/** Maps the full name of each service, method, message, field, enum, enum value and extension to its file. */
function indexSymbols(registry: FileRegistry): ReadonlyMap<string, string> {
  const fileOf = new Map<string, string>();
  for (const file of registry.files) {
    const add = (name: string): void => {
      fileOf.set(name, file.proto.name);
    };
    const addEnum = ({ typeName, values }: DescEnum): void => {
      add(typeName);
      // The scope of an enum's values is the scope of the enum.
      const scope = typeName.replace(/[^.]*$/, '');
      for (const { name } of values) add(`${scope}${name}`);
    };
    const addMessage = (desc: DescMessage): void => {
      add(desc.typeName);
      for (const { name } of [...desc.fields, ...desc.oneofs]) add(`${desc.typeName}.${name}`);
      for (const nested of desc.nestedMessages) addMessage(nested);
      for (const nested of desc.nestedEnums) addEnum(nested);
      for (const { typeName } of desc.nestedExtensions) add(typeName);
    };
    for (const desc of file.messages) addMessage(desc);
    for (const desc of file.enums) addEnum(desc);
    for (const { typeName } of file.extensions) add(typeName);
    for (const { typeName, methods } of file.services) {
      add(typeName);
      for (const { name } of methods) add(`${typeName}.${name}`);
    }
  }
  return fileOf;
}
