greeting = "file"
count    = "42"
names    = ["two", "nobody"]
