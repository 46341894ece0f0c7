// The triangle of registers at an edge of the array: lane i is delayed by i edges.
module skew #(parameter LANES = 2, WIDTH = 8) (
    input  logic clk,
    input  logic rst,
    input  logic [LANES-1:0][WIDTH-1:0] in,
    output logic [LANES-1:0][WIDTH-1:0] out
);
  assign out[0] = in[0];
  for (genvar i = 1; i < LANES; i++) begin : lane
    logic [WIDTH-1:0] line[1:i];
    always_ff @(posedge clk) begin
      line[1] <= rst ? '0 : in[i];
      for (int k = 2; k <= i; k++) line[k] <= rst ? '0 : line[k-1];
    end
    assign out[i] = line[i];
  end
endmodule
