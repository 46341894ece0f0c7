// R x C PEs, weights held. A psum enters above each column and leaves in the psum register of row R - 1.
module array_ws
  import words::*;
#(parameter R = 2, C = 2, REGISTERS = 1) (
    input  logic clk,
    input  logic rst,
    input  logic [R-1:0] load,
    input  logic [C-1:0][15:0] weights,
    input  logic [R-1:0][$bits(row_word)-1:0] rows,
    input  logic [C-1:0][$bits(sum_word)-1:0] psums,
    output logic [C-1:0][$bits(sum_word)-1:0] results
);
  wire enable[R][C+1];
  wire [$bits(row_word)-1:0] act[R][C+1];
  wire [15:0] weight[R+1][C];
  wire [$bits(sum_word)-1:0] psum[R+1][C];

  for (genvar i = 0; i < R; i++) begin : row
    assign enable[i][0] = load[i];
    assign act[i][0] = rows[i];
    for (genvar j = 0; j < C; j++) begin : column
      pe_ws #(.REGISTERS(REGISTERS)) pe (
          .clk, .rst,
          .load_in(enable[i][j]), .load_out(enable[i][j+1]),
          .weight_in(weight[i][j]), .weight_out(weight[i+1][j]),
          .act_in(act[i][j]), .act_out(act[i][j+1]),
          .psum_in(psum[i][j]), .psum_out(psum[i+1][j])
      );
    end
  end
  for (genvar j = 0; j < C; j++) begin : edges
    assign weight[0][j] = weights[j];
    assign psum[0][j] = psums[j];
    assign results[j] = psum[R][j];
  end
endmodule
