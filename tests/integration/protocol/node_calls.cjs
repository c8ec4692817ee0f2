// A client that Node's gRPC library makes from the .proto files. Prints one JSON object.
// node node_calls.cjs NODE_MODULES FOLDER GRPC   (FOLDER/protos/generated/*.proto)
const [modules, protos, address] = process.argv.slice(2);
const grpc = require(`${modules}/@grpc/grpc-js`);
const loader = require(`${modules}/@grpc/proto-loader`);

const definition = loader.loadSync('protos/generated/open_inference.proto', {
  keepCase: true, longs: String, defaults: true, includeDirs: [protos],
});
const { inference } = grpc.loadPackageDefinition(definition);
const client = new inference.GRPCInferenceService(address, grpc.credentials.createInsecure());

const ask = (method, message) =>
  new Promise((resolve, reject) =>
    client[method](message, (error, reply) => (error ? reject(error) : resolve(reply))));

function call(model_name) {
  const x = Buffer.from(new Float32Array(16).fill(1).buffer);
  return { model_name, id: 'n1', raw_input_contents: [x],
           inputs: [{ name: 'x', datatype: 'FP32', shape: [1, 16] }] };
}

async function main() {
  const infer = await ask('ModelInfer', call('tiny'));
  const raw = infer.raw_output_contents[0];
  const metadata = await ask('ModelMetadata', { name: 'tiny' });
  const config = await ask('ModelConfig', { name: 'tiny' });
  const refused = await ask('ModelInfer', call('nobody')).catch(
    (error) => ({ code: error.code, details: error.details }));
  console.log(JSON.stringify({
    live: (await ask('ServerLive', {})).live,
    ready: (await ask('ServerReady', {})).ready,
    model: (await ask('ModelReady', { name: 'tiny' })).ready,
    unloaded: (await ask('ModelReady', { name: 'spare' })).ready,
    platform: metadata.platform,
    shape: metadata.inputs[0].shape,
    max_batch_size: config.config.max_batch_size,
    id: infer.id,
    version: infer.model_version,
    y: Array.from(new Float32Array(raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.length))),
    refused,
  }));
  client.close();
}

main();
