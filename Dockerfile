# Graft on the CPU: docker build -t graft . && docker run --rm -v "$PWD:/work" graft train config.yaml
FROM node:22-slim AS build
WORKDIR /graft
COPY . .
# The install scripts that are left out fetch CUDA's libraries only (.npmrc).
RUN npm ci --no-audit --no-fund && npx tsc -b && npm prune --omit=dev

FROM node:22-slim
COPY --from=build /graft/node_modules /graft/node_modules
COPY --from=build /graft/packages /graft/packages
WORKDIR /work
ENTRYPOINT ["node", "/graft/packages/cli/bin/graft.js"]
CMD ["--help"]
