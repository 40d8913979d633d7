/**
 * The descriptors of gRPC's own services, health and reflection, which reflection serves too. They are written in
 * TypeScript because their .proto files are not part of this repository.
 */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type DescriptorProtoSchema,
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  type FieldDescriptorProtoSchema,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
} from '@bufbuild/protobuf/wkt';

type Field = MessageInitShape<typeof FieldDescriptorProtoSchema>;
type Message = MessageInitShape<typeof DescriptorProtoSchema>;

const { STRING, BYTES, INT32, MESSAGE, ENUM } = FieldDescriptorProto_Type;

/** `type` is a scalar, or the full name of a message. */
function field(number: number, name: string, type: FieldDescriptorProto_Type | string): Field {
  const jsonName = name.replaceAll(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
  const typed = typeof type === 'string' ? { type: MESSAGE, typeName: `.${type}` } : { type };
  return { number, name, jsonName, label: FieldDescriptorProto_Label.OPTIONAL, ...typed };
}

const repeated = (one: Field): Field => ({ ...one, label: FieldDescriptorProto_Label.REPEATED });

function healthFile(): FileDescriptorProto {
  const scope = 'grpc.health.v1';
  const response = `${scope}.HealthCheckResponse`;
  const method = (name: string, input: string, output: string, serverStreaming = false) => ({
    name,
    inputType: `.${scope}.${input}`,
    outputType: `.${scope}.${output}`,
    serverStreaming,
  });
  return create(FileDescriptorProtoSchema, {
    name: 'grpc/health/v1/health.proto',
    package: scope,
    syntax: 'proto3',
    messageType: [
      { name: 'HealthCheckRequest', field: [field(1, 'service', STRING)] },
      {
        name: 'HealthCheckResponse',
        field: [{ ...field(1, 'status', ENUM), typeName: `.${response}.ServingStatus` }],
        enumType: [
          {
            name: 'ServingStatus',
            value: ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN'].map((name, number) => ({ name, number })),
          },
        ],
      },
      { name: 'HealthListRequest' },
      {
        name: 'HealthListResponse',
        field: [repeated(field(1, 'statuses', `${scope}.HealthListResponse.StatusesEntry`))],
        nestedType: [
          {
            name: 'StatusesEntry',
            field: [field(1, 'key', STRING), field(2, 'value', response)],
            options: { mapEntry: true },
          },
        ],
      },
    ],
    service: [
      {
        name: 'Health',
        method: [
          method('Check', 'HealthCheckRequest', 'HealthCheckResponse'),
          method('List', 'HealthListRequest', 'HealthListResponse'),
          method('Watch', 'HealthCheckRequest', 'HealthCheckResponse', true),
        ],
      },
    ],
  });
}

function reflectionFile(version: 'v1' | 'v1alpha'): FileDescriptorProto {
  const scope = `grpc.reflection.${version}`;
  const messageType: Message[] = [
    {
      name: 'ServerReflectionRequest',
      field: [
        field(1, 'host', STRING),
        ...[
          field(3, 'file_by_filename', STRING),
          field(4, 'file_containing_symbol', STRING),
          field(5, 'file_containing_extension', `${scope}.ExtensionRequest`),
          field(6, 'all_extension_numbers_of_type', STRING),
          field(7, 'list_services', STRING),
        ].map((one) => ({ ...one, oneofIndex: 0 })),
      ],
      oneofDecl: [{ name: 'message_request' }],
    },
    { name: 'ExtensionRequest', field: [field(1, 'containing_type', STRING), field(2, 'extension_number', INT32)] },
    {
      name: 'ServerReflectionResponse',
      field: [
        field(1, 'valid_host', STRING),
        field(2, 'original_request', `${scope}.ServerReflectionRequest`),
        ...[
          field(4, 'file_descriptor_response', `${scope}.FileDescriptorResponse`),
          field(5, 'all_extension_numbers_response', `${scope}.ExtensionNumberResponse`),
          field(6, 'list_services_response', `${scope}.ListServiceResponse`),
          field(7, 'error_response', `${scope}.ErrorResponse`),
        ].map((one) => ({ ...one, oneofIndex: 0 })),
      ],
      oneofDecl: [{ name: 'message_response' }],
    },
    { name: 'FileDescriptorResponse', field: [repeated(field(1, 'file_descriptor_proto', BYTES))] },
    {
      name: 'ExtensionNumberResponse',
      field: [field(1, 'base_type_name', STRING), repeated(field(2, 'extension_number', INT32))],
    },
    { name: 'ListServiceResponse', field: [repeated(field(1, 'service', `${scope}.ServiceResponse`))] },
    { name: 'ServiceResponse', field: [field(1, 'name', STRING)] },
    { name: 'ErrorResponse', field: [field(1, 'error_code', INT32), field(2, 'error_message', STRING)] },
  ];
  return create(FileDescriptorProtoSchema, {
    name: `grpc/reflection/${version}/reflection.proto`,
    package: scope,
    syntax: 'proto3',
    messageType,
    service: [
      {
        name: 'ServerReflection',
        method: [
          {
            name: 'ServerReflectionInfo',
            inputType: `.${scope}.ServerReflectionRequest`,
            outputType: `.${scope}.ServerReflectionResponse`,
            clientStreaming: true,
            serverStreaming: true,
          },
        ],
      },
    ],
  });
}

export const systemFiles: readonly FileDescriptorProto[] = [
  healthFile(),
  reflectionFile('v1'),
  reflectionFile('v1alpha'),
];
