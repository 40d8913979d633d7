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
import { encodeWith, putBytes, putMessage, putNumber, putSigned, putText } from './message-writer.js';
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

interface ReflectionResponse {
  readonly request: ReflectionRequest;
  /** Writes the field with the result. */
  writeResult(): void;
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

function writeResponse({ request, writeResult }: ReflectionResponse): void {
  if (request.host !== '') putText(1, request.host);
  putMessage(2, () => writeRequest(request));
  writeResult();
}

function writeRequest(request: ReflectionRequest): void {
  if (request.host !== '') putText(1, request.host);
  if (request.fileByFilename !== undefined) putText(3, request.fileByFilename);
  if (request.fileContainingSymbol !== undefined) putText(4, request.fileContainingSymbol);
  const extension = request.fileContainingExtension;
  if (extension !== undefined) {
    putMessage(5, () => {
      putText(1, extension.containingType);
      putSigned(2, extension.extensionNumber);
    });
  }
  if (request.allExtensionNumbersOfType !== undefined) putText(6, request.allExtensionNumbersOfType);
  if (request.listServices !== undefined) putText(7, request.listServices);
}

function writeError(code: Status, text: string): void {
  putMessage(7, () => {
    putNumber(1, code);
    putText(2, text);
  });
}

function writeNotFound(what: string): void {
  writeError(Status.NOT_FOUND, `The server has no ${what} of this name.`);
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

  function writeFile(name: string | undefined, what: string): void {
    const bytes = name === undefined ? undefined : files.get(name);
    if (bytes === undefined) writeNotFound(what);
    else putMessage(4, () => putBytes(1, bytes));
  }

  function writeExtensionNumbers(type: string): void {
    const extensions = [...registry].filter((desc) => desc.kind === 'extension');
    putMessage(5, () => {
      putText(1, type);
      for (const { extendee, number } of extensions) if (extendee.typeName === type) putNumber(2, number);
    });
  }

  function writeResult(request: ReflectionRequest): void {
    const type = request.allExtensionNumbersOfType;
    if (request.listServices !== undefined) {
      putMessage(6, () => {
        for (const name of serviceNames) putMessage(1, () => putText(1, name));
      });
    } else if (request.fileByFilename !== undefined) writeFile(request.fileByFilename, 'file');
    else if (request.fileContainingSymbol !== undefined)
      writeFile(fileOfSymbol.get(request.fileContainingSymbol), 'symbol');
    else if (request.fileContainingExtension !== undefined) {
      const { containingType, extensionNumber } = request.fileContainingExtension;
      const extendee = registry.getMessage(containingType);
      const extension = extendee && registry.getExtensionFor(extendee, extensionNumber);
      writeFile(extension?.file.proto.name, 'extension');
    } else if (type === undefined) writeError(Status.INVALID_ARGUMENT, 'The request is empty. Set message_request.');
    else if (registry.getMessage(type) === undefined) writeNotFound('message type');
    else writeExtensionNumbers(type);
  }

  return {
    async *serverReflectionInfo(requests) {
      for await (const request of requests) yield { request, writeResult: () => writeResult(request) };
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
