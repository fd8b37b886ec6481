-- A page of its own for each request: /cold/NAME/0/0, /cold/NAME/0/1, …, a hundred to a folder.
-- Arguments: NAME, and after how many pages it starts again.
dofile(debug.getinfo(1, "S").source:match("^@(.*)cold%.lua$") .. "figures.lua")

local name, limit, next_page = nil, 0, 0

function init(args)
  name, limit = args[1], tonumber(args[2])
end

function request()
  local page = next_page
  next_page = (next_page + 1) % limit
  return wrk.format("GET", string.format("/cold/%s/%d/%d", name, math.floor(page / 100), page))
end
