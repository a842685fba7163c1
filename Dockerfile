# Graft on the CPU: docker build -t graft . && docker run --rm -v "$PWD:/work" graft train config.yaml
# scripts/image.mjs takes these steps without Docker; `npm run tarballs` has it do so.
FROM node:22-slim AS build
WORKDIR /graft
COPY . .
RUN npm run setup && mkdir /tarballs && npm run pack /tarballs

FROM node:22-slim
WORKDIR /graft
COPY --from=build /tarballs /tarballs
# The one install script that is left out fetches CUDA's libraries.
RUN npm install --ignore-scripts --no-audit --no-fund /tarballs/*.tgz
WORKDIR /work
ENTRYPOINT ["/graft/node_modules/.bin/graft"]
CMD ["--help"]
