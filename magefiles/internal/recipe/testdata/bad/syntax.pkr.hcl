variable "a" {
  type = string
  default = = "x" # want: Invalid expression
}
